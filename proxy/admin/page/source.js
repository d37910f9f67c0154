// Where the page gets what it shows: the stream of events, else by asking again and again.
//
// live: the stream speaks · polling: it does not, but /status answers · lost: neither does.
// Whatever it is, the stream is tried again, so it becomes live by itself.

const EVERY = 2000; // how often it is looked after, and asked while the stream is silent
const HIDDEN = 15000; // how often it is asked while nobody sees the page
const SILENCE = 4000; // a stream that says nothing for so long is none
const PATIENCE = 4000; // so long may an answer take

export class Source {
  #show;
  #stream = null;
  #heard = -Infinity;
  #asked = -Infinity;
  #asking = false;

  // `show` has the functions `status`, `configuration` and `feed`, which are told what they are named for.
  constructor(show) {
    this.#show = show;
  }

  start() {
    document.addEventListener("visibilitychange", () => this.#seen());
    setInterval(() => this.#look(), EVERY);
    this.#listen();
  }

  // A browser has six connections to a server, and each stream takes one: a page that nobody sees gives it back.
  #seen() {
    this.#stop();
    if (!document.hidden) this.#listen();
  }

  #listen() {
    const stream = new EventSource("events");
    this.#stream = stream;
    stream.addEventListener("status", (event) => {
      this.#heard = performance.now();
      this.#show.feed("live");
      this.#show.status(JSON.parse(event.data));
    });
    stream.addEventListener("configuration", (event) => this.#show.configuration(JSON.parse(event.data)));
    stream.addEventListener("error", () => {
      this.#stop();
      this.#ask();
    });
  }

  #stop() {
    this.#stream?.close();
    this.#stream = null;
    this.#heard = -Infinity;
  }

  get #live() {
    return performance.now() - this.#heard < SILENCE;
  }

  #look() {
    if (this.#live) return;
    const opening = this.#stream?.readyState === EventSource.CONNECTING;
    if (this.#stream && !opening) this.#stop();
    if (!this.#stream && !document.hidden) this.#listen();
    if (performance.now() - this.#asked >= (document.hidden ? HIDDEN : EVERY - 100)) this.#ask();
  }

  async #ask() {
    if (this.#asking) return;
    this.#asking = true;
    this.#asked = performance.now();
    try {
      const answer = await fetch("status", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const status = await answer.json();
      if (this.#live) return; // the stream has said something newer
      this.#show.feed("polling");
      this.#show.configuration(status.configuration);
      this.#show.status(status);
    } catch {
      if (!this.#live) this.#show.feed("lost");
    } finally {
      this.#asking = false;
    }
  }
}
