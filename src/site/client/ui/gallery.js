// @ts-check
// The files of a conversation, by their kinds, page by page.

import { bytes, fullTime, lengthOf, t } from '../i18n.js';
import { ask } from '../net/http.js';
import { choices } from './controls.js';
import { h, those } from './dom.js';
import { fileLink } from './files.js';
import { icon } from './icons.js';
import { failed, openDialog, openPicture } from './layers.js';
import { spinner } from './parts.js';
import { sound } from './player.js';
import { nameOrYou } from './words.js';

/** @typedef {import('../../types.d.ts').ShownFile} ShownFile */
/** @typedef {'media' | 'audio' | 'file'} Kind */

const PAGE = 60;

/** @param {{id: string}} conversation */
export function openGallery({ id }) {
  openDialog({
    title: t('gallery.title'),
    testid: 'gallery-dialog',
    wide: true,
    build: ({ signal }) => {
      const list = h('ul.gallery', { testid: 'gallery' });
      const more = h('button.button', { type: 'button', testid: 'gallery-more', hidden: true }, t('gallery.more'));
      const waiting = spinner(t('app.loading'));
      const none = h('p.quiet.center', { testid: 'gallery-none', hidden: true });
      /** @type {Kind} */
      let kind = 'media';
      let next = /** @type {string | null} */ (null);

      async function load() {
        const asked = kind;
        more.hidden = true;
        waiting.hidden = false;
        try {
          const page = await ask(
            'GET /conversations/{conversation}/files',
            { conversation: id, kind, limit: PAGE, next: next ?? undefined },
            { signal },
          );
          if (asked !== kind) return;
          next = page.next;
          list.append(...page.data.map((shown) => h('li', null, kind === 'media' ? tile(shown, id) : line(shown, id))));
        } catch (error) {
          if (signal.aborted || asked !== kind) return;
          failed(error);
        }
        waiting.hidden = true;
        more.hidden = !next;
        none.hidden = list.children.length > 0;
        none.textContent = t(`gallery.none_${kind}`);
      }

      /** @param {string} chosen */
      function show(chosen) {
        kind = /** @type {Kind} */ (chosen);
        next = null;
        none.hidden = true;
        list.className = `gallery ${kind}`;
        list.replaceChildren();
        load();
      }

      more.addEventListener('click', load);
      show(kind);
      return h(
        'div.gallery-box',
        null,
        choices(
          t('gallery.kind'),
          'gallery',
          [
            ['media', t('gallery.media')],
            ['file', t('gallery.file')],
            ['audio', t('gallery.audio')],
          ],
          kind,
          show,
        ),
        list,
        none,
        waiting,
        h('div.row.center', null, more),
      );
    },
  });
}

/**
 * @param {ShownFile} shown
 * @param {string} conversation
 */
const addressOf = ({ n }, conversation) => `#/c/${conversation}/${n}`;

/** @param {ShownFile} shown */
const originOf = ({ sender, created_at }) => `${nameOrYou(sender)} · ${fullTime(created_at)}`;

// Bytes of a picture that is loaded without being asked for.
const UNASKED_BYTES_MAX = 500_000;

/** @param {ShownFile['file']} file */
const lengthMark = ({ duration_ms: ms }) => (ms ? h('span.film-length', null, lengthOf(ms)) : null);

/**
 * @param {ShownFile} shown
 * @param {string} conversation
 */
function tile(shown, conversation) {
  const { file } = shown;
  const isFilm = file.type.startsWith('video/');
  const source = file.preview ?? (isFilm || file.size > UNASKED_BYTES_MAX ? null : file.url);
  const label = t(isFilm ? 'file.play' : 'file.open', { name: file.alt ?? file.name });
  return h(
    'button.tile',
    {
      type: 'button',
      'aria-label': label,
      title: originOf(shown),
      testid: 'gallery-tile',
      data: { n: String(shown.n) },
      onclick: () => openPicture({ ...file, address: addressOf(shown, conversation) }),
    },
    ...those(
      source
        ? h('img', { src: source, alt: '', loading: 'lazy', decoding: 'async', draggable: false })
        : h('span.tile-name', { dir: 'auto' }, file.name, h('span', null, bytes(file.size))),
      isFilm && h('span.film-play', null, icon('play')),
      isFilm && lengthMark(file),
    ),
  );
}

/**
 * @param {ShownFile} shown
 * @param {string} conversation
 */
function line(shown, conversation) {
  const { file } = shown;
  const origin = h(
    'a.gallery-origin.line',
    { href: addressOf(shown, conversation), testid: 'gallery-origin', title: t('gallery.jump') },
    originOf(shown),
  );
  const content = file.type.startsWith('audio/') ? sound(file, null, () => fileLink(file)) : fileLink(file);
  return h('div.gallery-line', { testid: 'gallery-line' }, content, origin);
}
