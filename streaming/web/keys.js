// Single keys do things while nobody is typing.

/** `actions`: from key to function; `digit(number)` takes 1 to 9. */
export function bindKeys({ digit, ...actions }) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || isTyping(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    const number = Number.parseInt(event.key, 10);
    const action = number >= 1 ? () => digit(number) : actions[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  });
}

/** Whether keys pressed at this element are words, not commands. */
export function isTyping(element) {
  return element.matches?.("textarea, select, input:not([type=range], [type=radio])");
}
