// One message, stored or still in the outbox, and the composer in which the next one is written.
//
// Invariants: drawing is a function of the item; a text leaves the composer only after the outbox (or, for a change,
// the server) has it.

import { bytes, fullTime, listOf, number, t, timeOf } from '../i18n.js';
import { model } from '../model.js';
import { outbox } from '../outbox.js';
import { socket } from '../api.js';
import { beginning, scalars } from '../util.js';
import { avatar, h, icon, iconButton, isEmojiOnly, link, openPicture, pickEmoji, rich, toast } from './kit.js';

const PICTURE_PX = 340;

// A name is part of our sentences: it may not change the direction of the text after it.
const unturned = (name) => name.replace(/[\u202a-\u202e\u2066-\u2069]/g, '');

export function nameOf(id) {
  if (id === null) return t('people.deleted');
  return unturned(model.person(id)?.display_name ?? '…');
}

export function titleOf(conversation) {
  if (conversation.type === 'group') return unturned(conversation.title || t('new.group'));
  return unturned(conversation.peer?.display_name ?? t('people.deleted'));
}

const PREVIEW_MAX = 160;

export function preview(message) {
  if (!message) return t('list.no_messages');
  if (message.deleted_at) return t('msg.deleted');
  if (message.damaged) return t('msg.damaged');
  if (message.body) return beginning(message.body.replace(/\s+/g, ' '), PREVIEW_MAX);
  const file = (message.attachments ?? message.files)?.[0];
  return file?.type.startsWith('image/') ? t('preview.photo') : file?.name ?? '';
}

// Items are `{message}` or `{row}`, with `first` and `last` of their group, `mine`, `read`. The signature names
// everything that drawing depends on.
export function signItem(item) {
  const { message, row } = item;
  if (row) {
    const progress = outbox.progress.get(row.client_id);
    return ['row', row.state, row.error, socket.online, item.first, item.last, progress && Math.round(progress.part * 50), progress?.file, item.quote?.rev].join('|');
  }
  return [message.id, message.rev, item.first, item.last, item.read, item.named && nameOf(message.sender), item.quote?.rev, message.attachments[0]?.url].join('|');
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
      item.named && !mine && item.first && h('span.sender.line', { dir: 'auto' }, sender),
      h('div.bubble', null,
        !deleted && (message ?? row).reply_to && quote(item, act),
        attachments(item, act),
        deleted ? h('p.body', null, t('msg.deleted'))
          : message?.damaged && !body ? h('p.body.damaged', { testid: 'message-damaged' }, t('msg.damaged'))
          : body && h('p.body', { testid: 'message-body' }, big ? body : rich(body)),
        h('span.meta', null,
          message?.edited_at && !deleted && h('span', null, t('msg.edited')),
          h('time', { datetime: at, title: fullTime(at) }, timeOf(at)),
          mine && !deleted && ticks(state, item.read))),
      message?.reactions.length > 0 && reactions(message, act),
      state === 'failed' && h('div.failure', { testid: 'message-failure' },
        icon('alert'), h('span', null, row.error || t('msg.failed')),
        link('message-retry', t('retry'), () => outbox.retry(row.client_id)),
        link('message-discard', t('msg.discard'), () => outbox.discard(row.client_id)))),
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

const localUrls = new WeakMap();

function localUrl(blob) {
  if (!localUrls.has(blob)) localUrls.set(blob, URL.createObjectURL(blob));
  return localUrls.get(blob);
}

function attachments({ message, row }, act) {
  const progress = row && outbox.progress.get(row.client_id);
  const files = message ? message.attachments
    : row.files.map((file) => ({ ...file, url: localUrl(file.blob) }));
  if (!files.length) return null;
  const parts = files.map((file, index) => {
    const part = progress?.file === index ? progress.part : file.upload || !row ? null : 0;
    const bar = row && row.state !== 'failed' && part !== null && h('progress', { value: part, max: 1, 'aria-label': t('msg.uploading', { percent: Math.round(part * 100) }), testid: 'upload-progress' });
    if (file.type.startsWith('image/')) return picture(file, bar, act, message);
    return fileLink(file, bar);
  });
  return h(`div.attachments${files.length > 1 && files.every((file) => file.type.startsWith('image/')) ? '.grid' : ''}`, null, parts);
}

function fileLink(file, bar) {
  return h('a.file', { href: file.url, target: '_blank', rel: 'noopener', download: file.name, testid: 'message-file', title: t('file.download', file) },
    h('span.file-icon', null, icon('file')), h('span.file-text', null, h('span.file-name', { dir: 'auto' }, file.name), h('span.file-size', null, bytes(file.size)), bar));
}

// Pictures that not every browser can show: one that can't offers the file.
const RARE_PICTURES = ['image/heic', 'image/heif', 'image/avif'];

function picture(file, bar, act, message) {
  // Known sizes keep the scroll position while pictures load.
  const { width, height } = file.width ? file : { width: 320, height: 240 };
  const scale = Math.min(1, PICTURE_PX / width, PICTURE_PX / height);
  const image = h('img', {
    src: file.url, alt: file.name, decoding: 'async', draggable: false, testid: 'message-image',
    width: Math.round(width * scale), height: Math.round(height * scale),
    onerror: () => {
      if (RARE_PICTURES.includes(file.type)) return button.replaceWith(fileLink(file, bar));
      image.classList.add('broken');
      if (message) act.renew(message);
    },
  });
  const button = h('button.picture', { type: 'button', 'aria-label': t('file.open', file), onclick: () => openPicture(file) }, image, bar);
  return button;
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

const FILES_MAX = 10;
const TYPING_EVERY_MS = 3_000;
const BODY_MAX = 4_000;
const UPLOAD_BYTES_MAX = 10_485_760;

export const drafts = new Map();

export function composer({ target, onSent, lastOwn, signal }) {
  const lane = target().lane;
  const draft = drafts.get(lane) ?? { text: '', files: [], reply: null };
  drafts.set(lane, draft);
  let editing = null, typedAt = 0;

  const input = h('textarea', { rows: 1, dir: 'auto', placeholder: t('compose.label'), 'aria-label': t('compose.label'), testid: 'composer-input', enterkeyhint: 'send' });
  const chooser = h('input', { type: 'file', multiple: true, hidden: true, tabindex: '-1', testid: 'composer-file', 'aria-label': t('compose.attach') });
  const send = iconButton('send', t('compose.send'), { type: 'submit', testid: 'composer-send', class: 'icon-button send' });
  const counter = h('span.counter', { 'aria-live': 'polite' });
  const context = h('div.compose-context', { hidden: true, testid: 'composer-context' });
  const tray = h('ul.tray', { 'aria-label': t('compose.files'), hidden: true, testid: 'composer-files' });
  const emoji = iconButton('smile', t('msg.react'), { testid: 'composer-emoji', onclick: () => pickEmoji(emoji, insert) });
  const element = h('form.composer', { method: 'post', testid: 'composer', onsubmit: (event) => { event.preventDefault(); submit(); } },
    context, tray,
    h('div.compose-row', null,
      iconButton('attach', t('compose.attach'), { testid: 'composer-attach', onclick: () => chooser.click() }), chooser,
      h('div.compose-field', null, input, counter, emoji), send));

  const bodyMax = () => socket.limits.message_max ?? BODY_MAX;

  function fit() {
    input.style.height = 'auto';
    const most = innerHeight * 0.35;
    input.style.height = `${Math.min(input.scrollHeight, most)}px`;
    input.style.overflowY = input.scrollHeight > most ? '' : 'hidden';
    const left = bodyMax() - scalars(input.value);
    counter.textContent = left < 200 ? String(left) : '';
    counter.classList.toggle('bad', left < 0);
    send.disabled = left < 0 || !(input.value.trim() || (draft.files.length && !editing));
  }

  function insert(text) {
    input.setRangeText(text, input.selectionStart, input.selectionEnd, 'end');
    input.focus();
    changed();
  }

  function changed() {
    if (!editing) {
      draft.text = input.value;
      typing(Boolean(input.value.trim()));
    }
    fit();
  }

  function typing(active) {
    const { conversation } = target();
    const now = Date.now();
    if (!conversation || (active ? now - typedAt < TYPING_EVERY_MS : !typedAt)) return;
    typedAt = active ? now : 0;
    socket.tell('typing', { conversation, active });
  }

  function drawContext() {
    const about = editing ?? draft.reply;
    context.hidden = !about;
    if (!about) return;
    context.replaceChildren(icon(editing ? 'edit' : 'reply'),
      h('div.context-text', null,
        h('strong.line', null, editing ? t('compose.edit') : t('compose.reply', { name: about.sender === model.me.id ? t('people.you') : nameOf(about.sender) })),
        h('span.line', { dir: 'auto' }, preview(about))),
      iconButton('close', t('cancel'), { testid: 'composer-cancel', onclick: cancel }));
    send.setAttribute('aria-label', t(editing ? 'compose.save' : 'compose.send'));
  }

  function drawTray() {
    tray.hidden = !draft.files.length || Boolean(editing);
    tray.replaceChildren(...draft.files.map((file) => h('li', null,
      file.type.startsWith('image/') ? h('img', { src: localUrl(file), alt: '' }) : h('span.file-icon', null, icon('file')),
      h('span.tray-text', null, h('span.line', { dir: 'auto' }, file.name), h('span.quiet', null, bytes(file.size))),
      iconButton('close', t('compose.remove', { name: file.name }), {
        onclick: () => {
          draft.files.splice(draft.files.indexOf(file), 1);
          drawTray();
        },
      }))));
    fit();
  }

  function attach(files) {
    const most = socket.limits.upload_max ?? UPLOAD_BYTES_MAX;
    for (const file of files) {
      if (file.size > most) toast(t('error.file_large', { name: file.name, size: bytes(most) }), { kind: 'bad' });
      else if (!file.size) toast(t('error.file_empty', { name: file.name }), { kind: 'bad' });
      else if (draft.files.length >= FILES_MAX) return toast(t('error.files_many', { count: FILES_MAX }), { kind: 'bad' }), drawTray();
      else draft.files.push(file);
    }
    drawTray();
    input.focus();
  }

  async function submit() {
    const body = input.value;
    if (send.disabled) return;
    if (editing) return saveEdit(body);
    const { files, reply } = draft;
    const text = body.trim() ? body : '';
    // Emptied first, so that a second Enter sends nothing; restored on failure.
    Object.assign(draft, { text: '', files: [], reply: null });
    input.value = '';
    restore();
    typing(false);
    try {
      await outbox.add({ ...target(), body: text, files, reply_to: reply?.id });
      if (!signal.aborted) onSent();
    } catch (error) {
      Object.assign(draft, { text: body, files, reply });
      input.value = body;
      restore();
      toast(error.message, { kind: 'bad' });
    }
    input.focus();
  }

  async function saveEdit(body) {
    const message = editing;
    if (body === message.body) return cancel();
    send.disabled = true;
    try {
      model.see(await socket.op('message.edit', { message: message.id, body }));
      cancel();
    } catch (error) {
      toast(error.message, { kind: 'bad' });
      fit();
    }
  }

  function restore() {
    drawContext();
    drawTray();
  }

  function cancel() {
    if (editing) {
      editing = null;
      input.value = draft.text;
    } else draft.reply = null;
    send.setAttribute('aria-label', t('compose.send'));
    restore();
    input.focus();
  }

  input.addEventListener('input', changed);
  input.addEventListener('blur', () => typing(false));
  input.addEventListener('paste', (event) => {
    const files = [...event.clipboardData.files];
    if (!files.length) return;
    event.preventDefault();
    attach(files);
  });
  input.addEventListener('keydown', (event) => {
    // Safari ends the composition before the Enter that confirmed it: 229 says that an input method took the key.
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === 'Enter' && !event.shiftKey && !matchMedia('(pointer: coarse)').matches) {
      event.preventDefault();
      submit();
    } else if (event.key === 'Escape' && (editing || draft.reply)) {
      event.stopPropagation();
      cancel();
    } else if (event.key === 'ArrowUp' && !input.value) {
      const own = lastOwn();
      if (own) {
        event.preventDefault();
        edit(own);
      }
    }
  });
  chooser.addEventListener('change', () => {
    attach([...chooser.files]);
    chooser.value = '';
  });
  signal.addEventListener('abort', () => typing(false));

  function edit(message) {
    editing = message;
    input.value = message.body ?? '';
    restore();
    input.focus();
    input.setSelectionRange(input.value.length, input.value.length);
  }

  function reply(message) {
    if (editing) cancel();
    draft.reply = message;
    restore();
    input.focus();
  }

  input.value = draft.text;
  restore();
  queueMicrotask(fit);
  return { element, edit, reply, attach, focus: () => input.focus({ preventScroll: true }) };
}
