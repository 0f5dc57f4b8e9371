// Owns the details of a conversation: who is in it, its name and picture, and
// what may be done to it by this member.

import * as api from '/client/api.js';
import { ago, t } from '/client/i18n.js';
import { model } from '/client/model.js';
import { confirm, failed, openDialog, openMenu } from '/client/ui/dialog.js';
import { avatar, h, icon, iconButton, spinner } from '/client/ui/dom.js';
import { titleOf } from '/client/ui/message.js';
import { openAdd, personRow } from '/client/ui/people.js';

// A hidden file field behind a button; `chosen` gets the picture.
export function pictureChooser(testid, chosen) {
  const input = h('input', { type: 'file', accept: 'image/jpeg,image/png,image/gif,image/webp', hidden: true, tabindex: '-1', testid, 'aria-label': t('info.image') });
  input.addEventListener('change', () => input.files[0] && chosen(input.files[0]).catch(failed).finally(() => { input.value = ''; }));
  return input;
}

const row = (name, label, testid, onclick, danger) => h(`button.action-row${danger ? '.danger' : ''}`, { type: 'button', testid, onclick }, h('span.action-icon', null, icon(name)), label);

export function openInfo({ conversation, profile, shell }) {
  openDialog({
    title: t('info.title'), testid: 'info-dialog',
    build: ({ close, signal }) => {
      const box = h('div.info');
      const draw = () => box.replaceChildren(...(conversation?.type === 'group' ? group(conversation, { close, draw, shell }) : person({ conversation, profile, close, draw, shell })));
      draw();
      for (const name of ['list', 'people', 'presence']) model.on(name, () => box.contains(document.activeElement) && /^(INPUT|TEXTAREA)$/.test(document.activeElement.tagName) ? null : draw(), signal);
      return box;
    },
  });
}

function muteRow(conversation, draw) {
  return row(conversation.muted ? 'bell' : 'mute', t(conversation.muted ? 'info.unmute' : 'info.mute'), 'info-mute', async () => {
    try {
      await api.put(`/conversations/${conversation.id}`, { muted: !conversation.muted });
      conversation.muted = !conversation.muted;
      model.touch('list');
      draw();
    } catch (error) { failed(error); }
  });
}

function person({ conversation, profile, close, draw, shell }) {
  if (!profile) return [h('p.quiet.center', null, t('people.deleted'))];
  const presence = model.presence.get(profile.id);
  const blocked = model.blocked.has(profile.id);
  const block = async () => {
    if (!blocked && !(await confirm({ title: t('info.block_title', { name: profile.display_name }), more: t('info.block_more'), action: t('info.block') }))) return;
    try {
      await (blocked ? api.remove(`/blocks/${profile.id}`) : api.put(`/blocks/${profile.id}`));
      if (blocked) model.blocked.delete(profile.id);
      else model.blocked.add(profile.id);
      model.touch('list');
      draw();
    } catch (error) { failed(error); }
  };
  return [
    h('div.info-head', null, avatar({ id: profile.id, name: profile.display_name, image: profile.profile_image, size: 'large', online: presence?.online }),
      h('h3', { dir: 'auto' }, profile.display_name), h('p.quiet', null, h('bdi', null, `@${profile.nick_name}`)),
      presence && h('p.quiet', null, presence.online ? t('people.online') : presence.last_seen_at ? t('people.seen', { when: ago(presence.last_seen_at) }) : '')),
    !conversation && row('reply', t('info.message'), 'info-message', () => {
      close();
      shell.openPerson(profile);
    }),
    conversation && muteRow(conversation, draw),
    row('block', t(blocked ? 'info.unblock' : 'info.block'), 'info-block', block, !blocked),
  ].filter(Boolean);
}

function group(conversation, { close, draw, shell }) {
  const admin = conversation.role === 'admin';
  const update = async (change) => {
    Object.assign(conversation, await api.put(`/conversations/${conversation.id}`, change));
    model.touch('list', conversation.id);
    draw();
  };
  const again = () => model.members(conversation, true).then(draw, failed);
  const chooser = pictureChooser('info-image-file', async (file) => update({ image: (await api.upload(file)).id }));
  const title = h('input', { value: titleOf(conversation), maxlength: 64, dir: 'auto', 'aria-label': t('new.group_title'), testid: 'info-title' });
  const list = h('ul.people', { testid: 'members' });
  if (!conversation.members) {
    list.append(spinner(t('app.loading')));
    model.members(conversation).then(draw, failed);
  } else {
    list.append(...conversation.members.map((member) => memberRow(member, { conversation, admin, again, close, shell })));
  }
  return [
    h('div.info-head', null,
      h('div.face-edit', null, avatar({ id: conversation.id, name: titleOf(conversation), image: conversation.image, size: 'large' }),
        admin && iconButton('camera', t('info.image'), { testid: 'info-image', onclick: () => chooser.click() }), chooser),
      admin ? h('form.inline', { method: 'post', onsubmit: (event) => { event.preventDefault(); update({ title: title.value }).catch(failed); } }, title, h('button.button', { testid: 'info-rename' }, t('info.rename')))
        : h('h3', { dir: 'auto' }, titleOf(conversation)),
      h('p.quiet', null, t('people.members', { count: conversation.members_count }))),
    admin && row('plus', t('info.add'), 'info-add', () => model.members(conversation).then((members) => openAdd(conversation, members, again), failed)),
    muteRow(conversation, draw),
    list,
    row('exit', t('info.leave'), 'info-leave', async () => {
      if (!(await confirm({ title: t('info.leave_title', { name: titleOf(conversation) }), more: t('info.leave_more'), action: t('info.leave') }))) return;
      try {
        await api.remove(`/conversations/${conversation.id}/members/${model.me.id}`);
        close();
        shell.left(conversation.id);
      } catch (error) { failed(error); }
    }, true),
  ].filter(Boolean);
}

function memberRow({ profile, role }, { conversation, admin, again, close, shell }) {
  const path = `/conversations/${conversation.id}/members/${profile.id}`;
  const me = profile.id === model.me.id;
  const more = !me && iconButton('more', t('info.member_actions', { name: profile.display_name }), {
    testid: 'member-more', 'aria-haspopup': 'menu',
    onclick: () => openMenu(more, [
      { label: t('info.message'), icon: 'reply', testid: 'member-message', act: () => { close(); shell.openPerson(profile); } },
      admin && { label: t(role === 'admin' ? 'info.drop_admin' : 'info.make_admin'), icon: 'person', testid: 'member-role', act: () => api.put(path, { role: role === 'admin' ? 'member' : 'admin' }).then(again, failed) },
      admin && { label: t('info.remove'), icon: 'exit', testid: 'member-remove', danger: true, act: () => api.remove(path).then(again, failed) },
    ], { label: t('msg.actions') }),
  });
  return personRow(me ? { ...profile, display_name: `${profile.display_name} (${t('people.you')})` } : profile, {
    testid: 'member', extra: [role === 'admin' && h('span.badge', null, t('info.admin')), more],
  });
}
