// The camera: opening it, listing what there is, and words for everything that can be in the way.

const IDEAL = { width: { ideal: 512 }, height: { ideal: 512 }, frameRate: { ideal: 30 } };

/** What is in the way, with a `title` and a `message` that says what to do about it. */
export class CameraError extends Error {
  constructor(title, message) {
    super(message);
    this.name = "CameraError";
    this.title = title;
  }
}

/** A MediaStream of the chosen camera (an empty id: whichever the browser likes). Throws CameraError. */
export async function openCamera(deviceId = "") {
  checkBrowser();
  try {
    return await ask(deviceId ? { deviceId: { exact: deviceId } } : { facingMode: "user" });
  } catch (error) {
    // The chosen camera was unplugged: any other is better than none.
    if (deviceId && (error.name === "OverconstrainedError" || error.name === "NotFoundError")) return openCamera();
    throw inWords(error);
  }
}

/** The cameras there are, `{id, label}`; labels are empty until the person has allowed one. */
export async function listCameras() {
  if (!navigator.mediaDevices?.enumerateDevices) return [];
  const devices = await navigator.mediaDevices.enumerateDevices();
  const cameras = devices.filter((device) => device.kind === "videoinput" && device.deviceId);
  return cameras.map((device, index) => ({ id: device.deviceId, label: device.label || `Camera ${index + 1}` }));
}

export function closeCamera(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

/** Throws CameraError if this browser or this address can't do it at all; without a camera less is asked of it. */
export function checkBrowser({ camera = true } = {}) {
  if (camera) checkCamera();
  if (!window.RTCPeerConnection) {
    throw new CameraError(
      "This browser can't do WebRTC",
      "WebRTC is missing or switched off, perhaps by an extension; switch it on, or open this page in another browser.",
    );
  }
}

function checkCamera() {
  if (!window.isSecureContext || !navigator.mediaDevices?.getUserMedia) {
    if (window.isSecureContext) {
      throw new CameraError("This browser has no camera access", "Open this page in Chrome, Edge, Firefox or Safari.");
    }
    const port = location.port ? `:${location.port}` : "";
    throw new CameraError(
      "Browsers share the camera only over HTTPS",
      `On the machine that runs the server, open http://localhost${port}. From another device, start the server with ` +
        "--tls-cert and --tls-key and open its https:// address.",
    );
  }
}

function ask(which) {
  return navigator.mediaDevices.getUserMedia({ audio: false, video: { ...IDEAL, ...which } });
}

function inWords(error) {
  if (error.name === "NotAllowedError" && /system/i.test(error.message)) {
    return new CameraError(
      "The system keeps the camera from this browser",
      "Allow it in the system's privacy settings, under Camera, then press Start again.",
    );
  }
  const words = {
    NotAllowedError: [
      "The camera isn't allowed here",
      "Click the camera or lock sign beside the address, choose Allow for the camera, then press Start again.",
    ],
    SecurityError: [
      "The camera isn't allowed here",
      "This page is shown inside another one that doesn't pass the camera on; open it in a tab of its own.",
    ],
    NotFoundError: ["No camera found", "Plug one in or switch it on, then press Start again."],
    NotReadableError: [
      "The camera is in use",
      "Another program holds it; close that (a video call, perhaps), then press Start again.",
    ],
  };
  words.AbortError = words.NotReadableError;
  const found = words[error.name] ?? ["The camera doesn't start", `The browser says: ${error.message || error.name}.`];
  return new CameraError(...found);
}
