// @ts-check
// A recording of the microphone. Loaded when it is first used.
//
// Owns the microphone, which is released at each end of a recording.

const BITS_PER_SECOND = 32_000;
const PIECE_MS = 1_000;

// By what a browser records, the ones that more browsers play first.
const ENDINGS = /** @type {const} */ ([
  ['audio/mp4', 'm4a'],
  ['audio/webm', 'webm'],
  ['audio/ogg', 'ogg'],
]);

/**
 * Begins to record; fails if there is no microphone, or if the member does not permit it.
 * @param {() => void} broken called when the browser ends it
 */
export async function record(broken) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const release = () => {
    for (const track of stream.getTracks()) track.stop();
  };
  const [mime, ending] = ENDINGS.find(([type]) => MediaRecorder.isTypeSupported(type)) ?? ['', 'bin'];
  /** @type {Blob[]} */
  const pieces = [];
  /** @type {MediaRecorder} */
  let recorder;
  try {
    recorder = new MediaRecorder(stream, { mimeType: mime || undefined, audioBitsPerSecond: BITS_PER_SECOND });
    recorder.start(PIECE_MS);
  } catch (error) {
    release();
    throw error;
  }
  // The last piece comes before it.
  const stopped = new Promise((resolve) => recorder.addEventListener('stop', resolve, { once: true }));
  recorder.addEventListener('dataavailable', ({ data }) => data.size && pieces.push(data));
  recorder.addEventListener('error', broken);
  const stop = () => {
    if (recorder.state !== 'inactive') recorder.stop();
    release();
  };
  return {
    ending,
    stop,
    get isRunning() {
      return recorder.state === 'recording';
    },
    /** What was recorded, once it is stopped. */
    async content() {
      stop();
      await stopped;
      return new Blob(pieces, { type: (mime || recorder.mimeType).split(';')[0] });
    },
  };
}
