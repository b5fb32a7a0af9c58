// Before anything of ours is shown: the words of the page's language.
import { beforeAll, wordsOfPage } from "./comfy.js";
import { speak } from "./words.js";

beforeAll("SolverSearch.Language", async () => speak(await wordsOfPage("solverSearch")));
