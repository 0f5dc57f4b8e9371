// Owns what the member is about to say: text, files, what it answers or
// changes. It hands the finished thing over and forgets it.
// Invariant: the text leaves the field only once the outbox (or, for a change,
// the server) has it.

import { bytes, t } from '/client/i18n.js';
import { model } from '/client/model.js';
import { outbox } from '/client/outbox.js';
import { socket } from '/client/socket.js';
import { local, scalars } from '/client/util.js';
import { pickEmoji, toast } from '/client/ui/dialog.js';
import { h, icon, iconButton } from '/client/ui/dom.js';
import { localUrl, nameOf, preview } from '/client/ui/message.js';

const FILES_MAX = 10;
// Said again while the member goes on typing: the server lets it lapse after 6 s.
const TYPING_EVERY_MS = 3_000;
// The server's defaults; `hello.limits` overrides them.
const BODY_MAX = 4_000;
const UPLOAD_BYTES_MAX = 10_485_760;

const drafts = new Map();

export function forgetDrafts() {
  drafts.clear();
  local.remove('drafts');
}

try {
  for (const [lane, text] of Object.entries(JSON.parse(local.get('drafts')) ?? {})) drafts.set(lane, { text, files: [], reply: null });
} catch { /* none were kept */ }

function keepDrafts() {
  local.set('drafts', JSON.stringify(Object.fromEntries([...drafts].filter(([, draft]) => draft.text).map(([lane, draft]) => [lane, draft.text]))));
}

// `target` gives `{lane, to?, conversation?}` at the time of sending.
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
  const emoji = iconButton('smile', t('compose.emoji'), { testid: 'composer-emoji', onclick: () => pickEmoji(emoji, insert) });
  const element = h('form.composer', { method: 'post', testid: 'composer', onsubmit: (event) => { event.preventDefault(); submit(); } },
    context, tray,
    h('div.compose-row', null,
      iconButton('attach', t('compose.attach'), { testid: 'composer-attach', onclick: () => chooser.click() }), chooser,
      h('div.compose-field', null, input, counter, emoji), send));

  const bodyMax = () => socket.limits.message_max ?? BODY_MAX;

  function fit() {
    input.style.height = 'auto';
    input.style.height = `${Math.min(input.scrollHeight, innerHeight * 0.35)}px`;
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
      keepDrafts();
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
    // Emptied first, so that a second Enter finds nothing; put back on failure.
    Object.assign(draft, { text: '', files: [], reply: null });
    input.value = '';
    restore();
    typing(false);
    keepDrafts();
    try {
      await outbox.add({ ...target(), body: text, files, reply_to: reply?.id });
      onSent();
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
    if (event.isComposing) return;
    // A finger's keyboard has no Shift+Enter: there the button sends.
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
