// ComfyUI's api for tests without a browser: answers[path] is what a route says.
class Api extends EventTarget {
  clientId = "test";
  answers = {};
  asked = [];

  apiURL(path) {
    return path;
  }

  async fetchApi(path, options = {}) {
    this.asked.push([path, options]);
    const found = Object.hasOwn(this.answers, path);
    return new Response(JSON.stringify(found ? this.answers[path] : { error: "no answer" }),
      { status: found ? 200 : 404 });
  }
}
export const api = new Api();
