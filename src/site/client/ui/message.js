// Owns how one message looks, stored or still in the outbox. It decides
// nothing: what a press does is handed in as `act`.
// Invariant: drawing is a function of the item; the same item draws the same.

import { bytes, fullTime, listOf, number, t, timeOf } from '/client/i18n.js';
import { model } from '/client/model.js';
import { outbox } from '/client/outbox.js';
import { socket } from '/client/socket.js';
import { openPictures } from '/client/ui/dialog.js';
import { avatar, h, icon, isEmojiOnly, rich } from '/client/ui/dom.js';

const PICTURE_PX = 340;

export function nameOf(id) {
  if (id === null) return t('people.deleted');
  return model.person(id)?.display_name ?? t('people.unknown');
}

export function titleOf(conversation) {
  if (conversation.type === 'group') return conversation.title || t('new.group');
  return conversation.peer?.display_name ?? t('people.deleted');
}

// One line for lists, quotes and announcements.
export function preview(message) {
  if (!message) return t('list.no_messages');
  if (message.deleted_at) return t('preview.deleted');
  if (message.body) return message.body.replace(/\s+/g, ' ').slice(0, 160);
  const file = (message.attachments ?? message.files)?.[0];
  const kind = file?.type?.split('/')[0];
  return { image: t('preview.photo'), video: t('preview.video'), audio: t('preview.audio') }[kind] ?? file?.name ?? '';
}

// Items are `{message}` or `{row}`, with `first` and `last` of their group,
// `mine`, `read`. The signature names everything that drawing looks at.
export function signItem(item) {
  const { message, row } = item;
  if (row) {
    const progress = outbox.progress.get(row.client_id);
    return ['row', row.state, row.error, socket.online, item.first, item.last, progress && Math.round(progress.part * 50), progress?.file, item.quote?.rev].join('|');
  }
  return [message.id, message.rev, item.first, item.last, item.read, item.named && nameOf(message.sender), item.quote?.rev, item.draw].join('|');
}

export function drawMessage(element, item, act) {
  const { message, row, mine } = item;
  const state = row ? (row.state === 'failed' ? 'failed' : 'sending') : 'sent';
  const deleted = Boolean(message?.deleted_at);
  const body = (message ?? row).body ?? '';
  const big = !deleted && !(message ?? row).reply_to && isEmojiOnly(body) && !(message?.attachments.length || row?.files.length);
  element.className = ['message', mine && 'mine', item.first && 'first', item.last && 'last', deleted && 'deleted', big && 'big', state].filter(Boolean).join(' ');
  Object.assign(element.dataset, {
    testid: 'message', state, clientId: (message ?? row).client_id ?? '', mine: String(mine), read: String(Boolean(item.read)),
    n: message ? message.n : '', id: message ? message.id : '',
  });
  const at = (message ?? row).created_at;
  const sender = mine ? t('people.you') : nameOf(message.sender);
  element.setAttribute('aria-label', `${t('msg.from', { name: sender, time: timeOf(at) })}: ${preview(message ?? row)}${state === 'sent' ? '' : `. ${stateWord(state)}`}`);

  const person = !mine && item.named ? model.person(message.sender) : null;
  element.replaceChildren(...[
    item.named && !mine && h('span.message-face', null, item.last && avatar({ id: message.sender ?? '', name: sender, image: person?.profile_image, size: 'small' })),
    h('div.message-main', null,
      item.named && !mine && item.first && h('span.sender', { dir: 'auto' }, sender),
      h('div.bubble', null,
        (message ?? row).reply_to && quote(item, act),
        attachments(item, act),
        deleted ? h('p.body', null, t('msg.deleted')) : body && h('p.body', { dir: 'auto', testid: 'message-body' }, big ? body : rich(body)),
        h('span.meta', null,
          message?.edited_at && !deleted && h('span', null, t('msg.edited')),
          h('time', { datetime: at, title: fullTime(at) }, timeOf(at)),
          mine && !deleted && ticks(state, item.read))),
      message?.reactions.length > 0 && reactions(message, act),
      state === 'failed' && h('div.failure', { testid: 'message-failure' },
        icon('alert'), h('span', null, row.error || t('msg.failed')),
        h('button.link', { type: 'button', testid: 'message-retry', onclick: () => outbox.retry(row.client_id) }, t('msg.retry')),
        h('button.link', { type: 'button', testid: 'message-discard', onclick: () => outbox.discard(row.client_id) }, t('msg.discard')))),
  ].filter(Boolean));
}

function stateWord(state, read) {
  if (state === 'sending') return t(socket.online ? 'msg.sending' : 'msg.waiting');
  return t({ failed: 'msg.failed', sent: read ? 'msg.read' : 'msg.sent' }[state]);
}

function ticks(state, read) {
  const word = stateWord(state, read);
  const name = { sending: 'clock', failed: 'alert', sent: read ? 'checks' : 'check' }[state];
  return h(`span.ticks${read ? '.read' : ''}`, { title: word, role: 'img', 'aria-label': word }, icon(name));
}

function quote(item, act) {
  const original = item.quote;
  return h('button.quote', { type: 'button', testid: 'message-quote', title: t('msg.jump'), onclick: () => original && act.jump(original) },
    h('strong.line', { dir: 'auto' }, original ? (original.sender === model.me.id ? t('people.you') : nameOf(original.sender)) : '…'),
    h('span.line', { dir: 'auto' }, original ? preview(original) : item.quoteGone ? t('chat.gone_quote') : t('app.loading')));
}

// The stored files by their signed URLs; those of the outbox from this browser.
const localUrls = new WeakMap();

export function localUrl(blob) {
  if (!localUrls.has(blob)) localUrls.set(blob, URL.createObjectURL(blob));
  return localUrls.get(blob);
}

function attachments({ message, row }, act) {
  const progress = row && outbox.progress.get(row.client_id);
  const files = message ? message.attachments
    : row.files.map((file) => ({ ...file, url: localUrl(file.blob) }));
  if (!files.length) return null;
  const pictures = files.filter((file) => file.type.startsWith('image/'));
  const parts = files.map((file, index) => {
    const part = progress?.file === index ? progress.part : file.upload || !row ? null : 0;
    const bar = row && part !== null && h('progress', { value: part, max: 1, 'aria-label': t('msg.uploading', { percent: Math.round(part * 100) }), testid: 'upload-progress' });
    if (file.type.startsWith('image/')) return picture(file, pictures, bar, act, message);
    if (/^(video|audio)\//.test(file.type)) {
      const kind = file.type.slice(0, 5);
      return h(`div.media.${kind}`, null, h(kind, { controls: true, preload: 'metadata', src: file.url, 'aria-label': file.name }), bar);
    }
    return h('a.file', { href: file.url, target: '_blank', rel: 'noopener', download: file.name, testid: 'message-file', 'aria-label': t('file.download', file) },
      h('span.file-icon', null, icon('file')), h('span.file-text', null, h('span.file-name', { dir: 'auto' }, file.name), h('span.file-size', null, bytes(file.size)), bar));
  });
  return h(`div.attachments${pictures.length > 1 && pictures.length === files.length ? '.grid' : ''}`, null, parts);
}

function picture(file, pictures, bar, act, message) {
  // Known sizes keep the scroll place while pictures arrive.
  const { width, height } = file.width ? file : { width: 320, height: 240 };
  const scale = Math.min(1, PICTURE_PX / width, PICTURE_PX / height);
  const image = h('img', {
    src: file.url, alt: file.name, decoding: 'async', draggable: false, testid: 'message-image',
    width: Math.round(width * scale), height: Math.round(height * scale),
    onerror: () => {
      image.classList.add('broken');
      if (message) act.renew(message);
    },
    onload: () => image.classList.add('ready'),
  });
  return h('button.picture', { type: 'button', 'aria-label': t('file.open', file), onclick: () => openPictures(pictures, pictures.indexOf(file)) }, image, bar);
}

function reactions(message, act) {
  return h('div.reactions', null, message.reactions.map(({ emoji, count, profiles }) => {
    const mine = profiles.includes(model.me.id);
    const names = listOf(profiles.slice(0, 8).map((id) => (id === model.me.id ? t('people.you') : nameOf(id))));
    const label = t('msg.reaction', { emoji, count, names });
    return h('button.reaction', {
      type: 'button', 'aria-pressed': String(mine), 'aria-label': label, title: names, testid: 'reaction', data: { emoji },
      onclick: () => act.react(message, emoji, mine),
    }, h('span', null, emoji), h('span.count', null, number(count)));
  }));
}
