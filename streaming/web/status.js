// The status line: one title, one sentence, and if the server says when to come back, a countdown.

export class StatusLine {
  constructor(element) {
    this.element = element;
    this.title = element.querySelector("strong");
    this.text = element.querySelector("span");
    this.timer = null;
  }

  get isError() {
    return this.element.dataset.tone === "error";
  }

  /** `tone`: idle, starting, live, reconnecting or error. `retryAfter`: seconds until it is worth trying again. */
  show(title, message, tone, retryAfter = null) {
    clearInterval(this.timer);
    this.element.dataset.tone = tone;
    this.title.textContent = title;
    this.text.textContent = message;
    if (retryAfter !== null) this.countDown(message, retryAfter);
  }

  countDown(message, seconds) {
    const end = performance.now() + 1000 * seconds;
    const left = document.createElement("span");
    left.role = "timer"; // a screen reader doesn't read it out every second
    const tick = () => {
      const rest = Math.ceil((end - performance.now()) / 1000);
      left.textContent = rest > 0 ? ` Press Start again in ${rest} s.` : " You can press Start now.";
      if (rest <= 0) clearInterval(this.timer);
    };
    this.text.replaceChildren(message, left);
    tick();
    this.timer = setInterval(tick, 1000);
  }
}
