// @ts-check
// The names that are offered while one is written after an `@` in a group.
//
// Owns the list above the field: a listbox whose option the field names as active. The focus stays in the field.

import { t } from '../i18n.js';
import { model } from '../state/model.js';
import { ALL, offered, written } from '../state/mentions.js';
import { h } from './dom.js';
import { avatar } from './parts.js';

const LIST_ID = 'composer-names';

/**
 * @param {{input: HTMLTextAreaElement, conversation: () => string | undefined, changed: () => void}} parts
 */
export function nameOffers({ input, conversation, changed }) {
  /** @type {import('../state/mentions.js').Candidate[]} */
  let shown = [];
  let active = 0;
  let isClosed = false;
  const element = h('ul.name-offers', {
    id: LIST_ID,
    role: 'listbox',
    'aria-label': t('compose.names'),
    testid: 'composer-names',
    hidden: true,
  });

  /** @returns {import('../state/mentions.js').Candidate[]} */
  function people() {
    const group = model.conversations.get(conversation() ?? '');
    if (group?.type !== 'group') return [];
    if (!group.members) model.members(group).then(update, () => {});
    const members = (group.members ?? []).filter(({ profile }) => !model.isMe(profile.id));
    const named = members.map(({ profile: { id, display_name: name, nick_name: nick } }) => ({ id, name, nick }));
    return group.role === 'admin' ? [...named, { id: ALL, name: t('compose.everyone'), nick: ALL }] : named;
  }

  function draw() {
    element.hidden = !shown.length;
    element.replaceChildren(...shown.map(option));
    if (!shown.length) {
      for (const name of ['aria-controls', 'aria-activedescendant', 'aria-autocomplete']) input.removeAttribute(name);
      return;
    }
    input.setAttribute('aria-autocomplete', 'list');
    input.setAttribute('aria-controls', LIST_ID);
    input.setAttribute('aria-activedescendant', `${LIST_ID}-${active}`);
    element.children[active].scrollIntoView({ block: 'nearest' });
  }

  /**
   * @param {import('../state/mentions.js').Candidate} person
   * @param {number} index
   */
  function option(person, index) {
    const image = model.people.get(person.id)?.profile_image;
    const row = h(
      'li',
      {
        id: `${LIST_ID}-${index}`,
        role: 'option',
        'aria-selected': String(index === active),
        testid: 'composer-name',
        data: { nick: person.nick },
        onclick: () => choose(person),
      },
      avatar({ id: person.id, name: person.name, image, size: 'small' }),
      h('span.line', { dir: 'auto' }, person.name),
      h('span.quiet.line', { dir: 'ltr' }, `@${person.nick}`),
    );
    // A press would take the focus from the field, and a phone would close its keyboard.
    row.addEventListener('pointerdown', (event) => event.preventDefault());
    row.addEventListener('mousedown', (event) => event.preventDefault());
    return row;
  }

  function update() {
    const now = document.activeElement === input ? written(input.value, input.selectionStart) : null;
    if (!now) isClosed = false;
    shown = now && !isClosed ? offered(people(), now.query) : [];
    active = 0;
    draw();
  }

  /** @param {import('../state/mentions.js').Candidate} person */
  function choose(person) {
    const now = written(input.value, input.selectionStart);
    if (now) input.setRangeText(`@${person.nick} `, now.at, input.selectionStart, 'end');
    shown = [];
    draw();
    input.focus();
    changed();
  }

  /**
   * @param {KeyboardEvent} event
   * @returns {boolean} whether the key was for the list
   */
  function keyed(event) {
    if (!shown.length || event.shiftKey || event.ctrlKey || event.metaKey || event.altKey) return false;
    const step = { ArrowDown: 1, ArrowUp: shown.length - 1 }[event.key];
    if (step) {
      active = (active + step) % shown.length;
      draw();
    } else if (event.key === 'Enter' || event.key === 'Tab') choose(shown[active]);
    else if (event.key === 'Escape') {
      isClosed = true;
      shown = [];
      draw();
    } else return false;
    event.preventDefault();
    event.stopPropagation();
    return true;
  }

  for (const name of ['input', 'click', 'focus', 'blur']) input.addEventListener(name, update);
  input.addEventListener('keyup', (event) => /^(Arrow(Left|Right)|Home|End)$/.test(event.key) && update());
  return { element, keyed, update };
}
