// What web/js makes of archives that are dropped onto it: node archives.mjs FOLDER COUNT
import { readFileSync } from "node:fs";
import { presetsIn, MAX_ZIP } from "../../web/js/preset_file.js";

const SLOW = 2000; // milliseconds of CPU; a sound archive takes a few
const [folder, count] = process.argv.slice(2);
const seen = { accepted: 0, refused: 0, crashes: {} };

for (let number = 0; number < Number(count); number++) {
  const bytes = readFileSync(`${folder}/${number}.zip`);
  const begun = process.cpuUsage();
  let fault = "";
  try {
    const found = await presetsIn(new File([bytes], "a.zip"));
    const size = found.reduce((sum, each) => sum + each.bytes.length, 0);
    if (size > MAX_ZIP) fault = `unpacks ${size} bytes`;
    if (found.some((each) => /[\\/]/.test(each.name))) fault = "a name with folders";
    seen[found.length ? "accepted" : "refused"] += 1;
  } catch (error) {
    fault = `${error.name}: ${error.message}`;
  }
  const { user, system } = process.cpuUsage(begun);
  const took = (user + system) / 1000;
  if (took > SLOW) fault = `slow: ${Math.round(took)} ms`;
  if (fault) seen.crashes[fault] ??= number;
}
seen.megabytes = Math.round(process.resourceUsage().maxRSS / 1024);
console.log(JSON.stringify(seen));
