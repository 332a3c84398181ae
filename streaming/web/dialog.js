// The small dialog that asks for the server's token.

/** The token that the person typed, or null. `again`: the one from before was refused. */
export function askToken(again) {
  const dialog = document.getElementById("token-dialog");
  const field = document.getElementById("token");
  const hint = document.getElementById("token-hint");
  if (again) hint.textContent = "That token wasn't accepted. It stands in the terminal where sdxs-live was started.";
  field.value = "";
  return new Promise((resolve) => {
    dialog.returnValue = "";
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "ok" ? field.value.trim() || null : null), {
      once: true,
    });
    dialog.showModal();
    field.focus();
  });
}
