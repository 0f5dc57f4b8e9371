// @ts-check
// The files of a message: pictures, films and sounds in place, and all others to be saved.
//
// Owns what is loaded without being asked for: previews and small pictures.
// Invariant: drawing a message again does not stop what plays in it.

import { bytes, lengthOf, t } from '../i18n.js';
import { outbox } from '../state/here.js';
import { h, those } from './dom.js';
import { icon } from './icons.js';
import { openPicture } from './layers.js';
import { sound } from './player.js';

/** @typedef {import('../state/outbox.js').Row} Row */
/** @typedef {import('../../types.d.ts').Message} Message */
/**
 * A file, stored or not.
 * @typedef {{id?: string, name: string, type: string, size: number, url: string, preview?: string | null,
 *   alt?: string | null, duration_ms?: number | null, width?: number | null, height?: number | null,
 *   upload?: string | null}} Shown
 */
/** @typedef {Map<string | undefined, HTMLElement>} Players what plays, or has played, by the id of its file */
/**
 * @typedef {object} Place
 * @property {Message | undefined} message
 * @property {Row | undefined} row
 * @property {Players} players
 * @property {(message: Message) => void} renew
 */

const PICTURE_PX = 340;
// Bytes of a picture that is loaded without being asked for, if it has no preview.
const UNASKED_BYTES_MAX = 500_000;

/** @type {WeakMap<Blob, string>} */
const localUrls = new WeakMap();

/** @param {Blob} blob */
export function localUrl(blob) {
  const url = localUrls.get(blob) ?? URL.createObjectURL(blob);
  localUrls.set(blob, url);
  return url;
}

/**
 * What plays in an element that is about to be drawn again.
 * @param {HTMLElement} element
 * @returns {Players}
 */
export function playersIn(element) {
  /** @type {Players} */
  const players = new Map();
  for (const medium of element.querySelectorAll('audio,video')) {
    const { currentTime, paused } = /** @type {HTMLMediaElement} */ (medium);
    const player = /** @type {HTMLElement | null} */ (medium.closest('[data-player]'));
    if (player && (currentTime > 0 || !paused)) players.set(player.dataset.player, player);
  }
  return players;
}

/** @param {Shown} file */
const family = (file) => file.type.split('/')[0];

/**
 * @param {Shown[]} files
 * @param {Place} place
 */
export function attachments(files, place) {
  if (!files.length) return null;
  const { row } = place;
  const isGoing = row && row.state !== 'failed';
  const parts = files.map((file, index) => attachment(file, isGoing ? progressBar(row, file, index) : null, place));
  const isGrid = files.length > 1 && files.every((file) => family(file) === 'image' && isShownAtOnce(file));
  const cancel =
    isGoing &&
    h(
      'button.link.upload-cancel',
      { type: 'button', testid: 'upload-cancel', onclick: () => outbox.discard(row.client_id) },
      t('msg.cancel_upload'),
    );
  return h(`div.attachments${isGrid ? '.grid' : ''}`, null, those(...parts, cancel));
}

/**
 * @param {Shown} file
 * @param {HTMLElement | null} bar
 * @param {Place} place
 */
function attachment(file, bar, place) {
  // What was kept on this device has no address.
  if (!file.url) return fileLink(file, bar);
  if (family(file) === 'image') return isShownAtOnce(file) ? picture(file, bar, place) : largePicture(file);
  const held = file.id && place.players.get(file.id);
  if (held) return held;
  if (family(file) === 'video') return film(file, bar, place);
  return family(file) === 'audio' ? sound(file, bar, () => failedToPlay(file, place)) : fileLink(file, bar);
}

/** @param {Shown} file */
const isShownAtOnce = (file) => Boolean(file.preview) || file.size <= UNASKED_BYTES_MAX || file.url.startsWith('blob:');

/**
 * @param {Row} row
 * @param {Shown} file
 * @param {number} index
 */
function progressBar(row, file, index) {
  const progress = outbox.progress.get(row.client_id);
  if (progress?.file !== index && file.upload) return null;
  const value = progress && progress.file === index ? progress.part : 0;
  const label = t('msg.uploading', { percent: Math.round(value * 100) });
  return h('progress', { value, max: 1, 'aria-label': label, testid: 'upload-progress' });
}

/**
 * @param {Shown} file
 * @param {HTMLElement | null} [bar]
 */
export function fileLink(file, bar) {
  return h(
    'a.file',
    {
      href: file.url || null,
      target: '_blank',
      rel: 'noopener',
      download: file.name,
      testid: 'message-file',
      title: t('file.download', { name: file.name }),
    },
    h('span.file-icon', null, icon('file')),
    h(
      'span.file-text',
      null,
      h('span.file-name', { dir: 'auto' }, file.name),
      h('span.file-size', null, bytes(file.size)),
      bar,
    ),
  );
}

/**
 * A picture without a preview that would take long to load.
 * @param {Shown} file
 */
function largePicture(file) {
  return h(
    'button.file',
    {
      type: 'button',
      testid: 'message-large',
      title: t('file.open', { name: file.name }),
      onclick: () => openPicture(file),
    },
    h('span.file-icon', null, icon('picture')),
    h(
      'span.file-text',
      null,
      h('span.file-name', { dir: 'auto' }, file.name),
      h('span.file-size', null, `${bytes(file.size)} · ${t('file.show')}`),
    ),
  );
}

// Pictures that not every browser can show: one that can't offers the file.
const RARE_PICTURES = ['image/heic', 'image/heif', 'image/avif'];

/**
 * The size at which a picture or a film is shown: known sizes keep the scroll position while it loads.
 * @param {Shown} file
 */
function sizeOf(file) {
  const width = file.width || 320;
  const height = file.height || 240;
  const scale = Math.min(1, PICTURE_PX / width, PICTURE_PX / height);
  return { width: Math.round(width * scale), height: Math.round(height * scale) };
}

/**
 * @param {Shown} file
 * @param {HTMLElement | null} bar
 * @param {Place} place
 */
function picture(file, bar, { message, renew }) {
  /** @type {HTMLImageElement} */
  const image = h('img', {
    src: file.preview ?? file.url,
    alt: file.alt ?? file.name,
    decoding: 'async',
    draggable: false,
    testid: 'message-image',
    ...sizeOf(file),
    onerror: () => {
      if (RARE_PICTURES.includes(file.type)) return button.replaceWith(fileLink(file, bar));
      image.classList.add('broken');
      if (message) renew(message);
    },
  });
  const label = file.alt ? t('file.open_alt', { alt: file.alt }) : t('file.open', { name: file.name });
  /** @type {HTMLElement} */
  const button = h(
    'button.picture',
    { type: 'button', 'aria-label': label, onclick: () => openPicture(file) },
    image,
    bar,
  );
  return button;
}

/**
 * A film: its poster and its length, and the film itself once it is asked for.
 * @param {Shown} file
 * @param {HTMLElement | null} bar
 * @param {Place} place
 */
function film(file, bar, place) {
  const size = sizeOf(file);
  const label = t('file.play', { name: file.alt ?? file.name });
  const poster = file.preview
    ? h('img', { src: file.preview, alt: '', decoding: 'async', draggable: false, ...size })
    : h('span.poster', null, h('span.line', { dir: 'auto' }, file.name), h('span', null, bytes(file.size)));
  if (!file.preview) poster.style.aspectRatio = `${size.width} / ${size.height}`;
  const play = () => {
    /** @type {HTMLVideoElement} */
    const video = h('video', {
      src: file.url,
      poster: file.preview,
      controls: true,
      playsinline: '',
      'aria-label': file.alt ?? file.name,
      testid: 'message-film-playing',
      ...size,
      onerror: () => frame.replaceWith(failedToPlay(file, place)),
    });
    /** @type {HTMLElement} */
    const frame = h('div.picture', { data: { player: file.id ?? '' } }, video);
    button.replaceWith(frame);
    video.focus();
    video.play().catch(() => {}); // `onerror` says what is wrong with it
  };
  const button = h(
    'button.picture.film',
    { type: 'button', 'aria-label': label, testid: 'message-film', onclick: play },
    poster,
    h('span.film-play', null, icon('play')),
    file.duration_ms ? h('span.film-length', null, lengthOf(file.duration_ms)) : null,
    bar,
  );
  return button;
}

/**
 * What is shown of a film or a sound that this browser can't play: also when its address has expired.
 * @param {Shown} file
 * @param {Place} place
 */
function failedToPlay(file, { message, renew }) {
  if (message) renew(message);
  return fileLink(file);
}
