// What the page says, mode by mode, and how an error is put into words.

import { ApiError } from "./api.js";
import { CameraError } from "./camera.js";

/** What each mode says when it is ready, while it connects, while it runs and when it was stopped. */
export const WORDS = {
  camera: {
    ready: "Press Start: a diffusion model repaints your camera along its edges.",
    connecting: "The camera is on; asking the server for a place.",
    live: "Every picture is repainted as it comes.",
    stopped: "The camera is off.",
  },
  draw: {
    ready: "Draw, and press Start: the model repaints your drawing at every stroke.",
    connecting: "Asking the server for a place.",
    live: "Your drawing is repainted at every stroke.",
    stopped: "Your drawing stays as it is.",
  },
  imagine: {
    ready: "Write a prompt and press Start: the model paints it, without a camera.",
    connecting: "Asking the server for a place.",
    live: "The model paints your words.",
    stopped: "Press Start to go on.",
  },
};

/** What a model without a sketch control says in draw mode. */
export const NO_DRAWINGS = {
  title: "This model can't paint from drawings",
  message: "It has no sketch control; start the server with a model that has one, or choose another mode.",
};

const TITLES = {
  0: "The server doesn't answer",
  401: "The server wants its token",
  409: "That name is taken",
  503: "No free place right now",
};

/** A title and a message for a person, of any error that can come up here. */
export function inWords(error) {
  if (error instanceof CameraError) return error;
  if (!(error instanceof ApiError))
    return { title: "That didn't work", message: `${error.message}. Press Start to try again.` };
  const title = error.title ?? TITLES[error.status] ?? "The server refused";
  if (error.status === 0 && !error.title) {
    return { title, message: `${error.message} See that sdxs-live is still running there, then press Start.` };
  }
  return { title, message: error.message };
}
