// @ts-check
// How a chosen file is made ready to be sent: pictures are scaled, and pictures and films get a preview. Loaded with
// the first file.
//
// Invariant: a file that this browser cannot read is sent as it is, without a preview.

// Pixels of the longer edge of a sent picture.
const EDGE_MAX = 2_048;
const FACE_EDGE_MAX = 512;
// Bytes of a preview that the server takes. A picture that is no larger needs none.
const PREVIEW_BYTES_MAX = 40_000;
// Pixels of the longer edge of a preview, tried in this order, each with all qualities.
const PREVIEW_EDGES = [640, 480, 320, 160];
const PREVIEW_QUALITIES = [0.8, 0.6, 0.4];
const QUALITY = 0.85;
// Bytes that a picture which moves may have to be shown at once, moving.
const MOVING_BYTES_MAX = 500_000;
// A film may begin with a black picture.
const POSTER_S = 0.5;
const READ_MS_MAX = 10_000;
// The chunks that say that a PNG or a WebP moves come before the pixels.
const HEAD_BYTES = 4_096;

/** @typedef {{blob: Blob, name: string, type: string}} Content */
/** @typedef {Content & {preview: Blob | null, duration_ms: number | null}} Ready */
/** @typedef {{width: number, height: number}} Size */

/**
 * @param {Content} file
 * @param {boolean} isOriginal its pixels stay as they are
 * @returns {Promise<Ready>}
 */
export async function prepare(file, isOriginal) {
  const content = { blob: file.blob, name: file.name, type: file.type };
  const [family] = file.type.split('/');
  try {
    if (family === 'image') return await picture(content, isOriginal);
    if (family === 'video') return await film(content);
    if (family === 'audio') return { ...content, preview: null, duration_ms: await lengthOf(content) };
  } catch {
    // A type or a size that this browser does not know.
  }
  return { ...content, preview: null, duration_ms: null };
}

/**
 * The picture of a profile or a group.
 * @param {Content} content
 */
export async function faceOf(content) {
  try {
    if (await isMoving(content)) return content;
    const bitmap = await createImageBitmap(content.blob);
    const isLarge = Math.max(bitmap.width, bitmap.height) > FACE_EDGE_MAX;
    return isLarge ? await scaled(content, bitmap, FACE_EDGE_MAX) : content;
  } catch {
    return content;
  }
}

/**
 * @param {Content} content
 * @param {boolean} isOriginal
 * @returns {Promise<Ready>}
 */
async function picture(content, isOriginal) {
  const moves = await isMoving(content);
  const none = { ...content, preview: null, duration_ms: null };
  if (moves && content.blob.size <= MOVING_BYTES_MAX) return none;
  const bitmap = await createImageBitmap(content.blob);
  try {
    const isLarge = Math.max(bitmap.width, bitmap.height) > EDGE_MAX;
    const ready = isLarge && !isOriginal && !moves ? await scaled(content, bitmap, EDGE_MAX) : content;
    const preview = ready.blob.size > PREVIEW_BYTES_MAX ? await previewOf(bitmap, bitmap, hasAlpha(content)) : null;
    return { ...ready, preview, duration_ms: null };
  } finally {
    bitmap.close();
  }
}

/** @param {Content} content */
async function isMoving({ blob, type }) {
  if (type === 'image/gif') return true;
  if (type !== 'image/png' && type !== 'image/webp') return false;
  const head = new TextDecoder('latin1').decode(await blob.slice(0, HEAD_BYTES).arrayBuffer());
  return head.includes(type === 'image/png' ? 'acTL' : 'ANIM');
}

/** @param {Content} content */
const hasAlpha = ({ type }) => type === 'image/png' || type === 'image/webp' || type === 'image/gif';

/**
 * @param {Content} content
 * @param {ImageBitmap} bitmap
 * @param {number} edge
 * @returns {Promise<Content>}
 */
async function scaled(content, bitmap, edge) {
  const blob = await drawn(bitmap, bitmap, edge, hasAlpha(content) ? 'image/webp' : 'image/jpeg', QUALITY);
  if (!blob || blob.size >= content.blob.size) return content;
  const ending = blob.type.slice('image/'.length).replace('jpeg', 'jpg');
  return { blob, type: blob.type, name: `${content.name.replace(/\.[^.]{1,5}$/, '')}.${ending}` };
}

/**
 * The largest preview that the server takes.
 * @param {CanvasImageSource} source
 * @param {Size} size
 * @param {boolean} isClear it may have no ground
 */
async function previewOf(source, size, isClear) {
  for (const edge of PREVIEW_EDGES) {
    for (const quality of PREVIEW_QUALITIES) {
      // A browser that writes no WebP writes a PNG instead, which is larger: then a JPEG, on white.
      let blob = await drawn(source, size, edge, 'image/webp', quality);
      if (blob?.type !== 'image/webp' && !(isClear && blob && blob.size <= PREVIEW_BYTES_MAX))
        blob = await drawn(source, size, edge, 'image/jpeg', quality);
      if (blob && blob.size <= PREVIEW_BYTES_MAX) return blob;
    }
  }
  return null;
}

/**
 * @param {CanvasImageSource} source
 * @param {Size} size
 * @param {number} edge
 * @param {string} type
 * @param {number} quality
 * @returns {Promise<Blob | null>}
 */
function drawn(source, { width, height }, edge, type, quality) {
  const scale = Math.min(1, edge / Math.max(width, height));
  const canvas = document.createElement('canvas');
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext('2d');
  if (!context) return Promise.resolve(null);
  context.imageSmoothingQuality = 'high';
  if (type === 'image/jpeg') {
    context.fillStyle = '#fff';
    context.fillRect(0, 0, canvas.width, canvas.height);
  }
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, type, quality));
}

/**
 * @param {Content} content
 * @returns {Promise<Ready>}
 */
function film(content) {
  return withMedium(content, 'video', async (video, until) => {
    await until('loadeddata');
    const duration_ms = durationOf(video);
    video.currentTime = Math.min(POSTER_S, (duration_ms ?? 0) / 2_000);
    await until('seeked');
    const size = { width: video.videoWidth, height: video.videoHeight };
    const preview = size.width && size.height ? await previewOf(video, size, false) : null;
    return { ...content, preview, duration_ms };
  });
}

/** @param {Content} content */
const lengthOf = (content) =>
  withMedium(content, 'audio', async (sound, until) => {
    await until('loadedmetadata');
    return durationOf(sound);
  });

/** @param {HTMLMediaElement} medium */
const durationOf = ({ duration }) => (Number.isFinite(duration) && duration > 0 ? Math.round(duration * 1_000) : null);

/**
 * @template R
 * @template {'audio' | 'video'} K
 * @param {Content} content
 * @param {K} kind
 * @param {(medium: HTMLElementTagNameMap[K], until: (event: string) => Promise<void>) => Promise<R>} work
 * @returns {Promise<R>}
 */
async function withMedium({ blob }, kind, work) {
  const medium = document.createElement(kind);
  const url = URL.createObjectURL(blob);
  const signal = AbortSignal.timeout(READ_MS_MAX);
  /**
   * @param {string} event
   * @returns {Promise<void>}
   */
  const until = (event) =>
    new Promise((resolve, reject) => {
      medium.addEventListener(event, () => resolve(), { once: true });
      medium.addEventListener('error', () => reject(medium.error), { once: true });
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
  Object.assign(medium, { muted: true, preload: 'auto', src: url });
  try {
    return await work(medium, until);
  } finally {
    medium.removeAttribute('src');
    medium.load();
    URL.revokeObjectURL(url);
  }
}
