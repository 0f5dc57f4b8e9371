// @ts-check
// A sound that plays in place: a button, a line to seek on, and its time.
//
// Invariant: one sound or film plays at a time, and nothing of it is loaded before it is asked for.

import { bytes, lengthOf, t } from '../i18n.js';
import { isVoice } from '../names.js';
import { h } from './dom.js';
import { icon } from './icons.js';

/** @typedef {import('./files.js').Shown} Shown */

// What plays pauses when something else begins.
document.addEventListener(
  'play',
  ({ target }) => {
    for (const medium of document.querySelectorAll('audio,video'))
      if (medium !== target) /** @type {HTMLMediaElement} */ (medium).pause();
  },
  { capture: true },
);

/**
 * @param {Shown} file
 * @param {HTMLElement | null} bar
 * @param {() => HTMLElement} failed what is shown instead if it can't be played
 */
export function sound(file, bar, failed) {
  const audio = h('audio', { preload: 'none', src: file.url });
  const name = isVoice(file) ? t('preview.voice') : file.name;
  const button = h('button.sound-play', { type: 'button', testid: 'sound-play', onclick: toggle });
  const seek = h('input', { type: 'range', min: 0, max: 1, step: 'any', value: 0, testid: 'sound-seek' });
  seek.setAttribute('aria-label', t('file.seek', { name }));
  const time = h('span.sound-time', { testid: 'sound-time' });
  // A recording has no length of its own before it has been read completely.
  const seconds = () => (Number.isFinite(audio.duration) ? audio.duration : (file.duration_ms ?? 0) / 1_000);

  function toggle() {
    if (audio.paused)
      audio.play().catch(() => {}); // the event `error` says what is wrong with it
    else audio.pause();
  }

  function draw() {
    const label = t(audio.paused ? 'file.play' : 'file.pause', { name });
    button.setAttribute('aria-label', label);
    button.replaceChildren(icon(audio.paused ? 'play' : 'pause'));
    const all = seconds();
    const isAtStart = audio.paused && !audio.currentTime;
    seek.max = String(all || 1);
    seek.value = String(Math.min(audio.currentTime, all || 1));
    seek.disabled = !all;
    const at = lengthOf((isAtStart ? all : audio.currentTime) * 1_000);
    time.textContent = all || !isAtStart ? at : bytes(file.size);
    seek.setAttribute('aria-valuetext', lengthOf(audio.currentTime * 1_000));
    seek.style.setProperty('--part', String(all ? audio.currentTime / all : 0));
  }

  for (const event of ['play', 'pause', 'timeupdate', 'durationchange']) audio.addEventListener(event, draw);
  audio.addEventListener('ended', () => (audio.currentTime = 0));
  audio.addEventListener('error', () => element.replaceWith(failed()));
  seek.addEventListener('input', () => (audio.currentTime = Number(seek.value)));
  const element = h(
    'div.sound',
    { testid: 'message-sound', role: 'group', 'aria-label': file.alt ?? name, data: { player: file.id ?? '' } },
    audio,
    button,
    h(
      'div.sound-main',
      null,
      !isVoice(file) && h('span.file-name.line', { dir: 'auto' }, file.name),
      seek,
      bar ?? time,
    ),
  );
  draw();
  return element;
}
