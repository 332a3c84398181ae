// A screen that stays on while pictures run, where the browser lets a page ask for that.

let lock = null;
let wanted = false;

export async function keepAwake() {
  wanted = true;
  lock ??= await navigator.wakeLock?.request("screen").catch(() => null);
  lock?.addEventListener("release", () => (lock = null));
}

export function letSleep() {
  wanted = false;
  lock?.release();
}

// The browser takes it away from a page that is out of sight.
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && wanted) keepAwake();
});
