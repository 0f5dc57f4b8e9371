// @ts-check
// What an admin sees of the server itself: its version, its last backup, its background errors.
//
// Invariant: a backup stays on the server; this page asks for one and shows what became of it.

import { bytes, fullTime, t } from '../i18n.js';
import { call } from '../net/http.js';
import { h, those } from './dom.js';
import { failed } from './layers.js';
import { button, spinner } from './parts.js';

const AGAIN_AFTER_MS = 1000;

/** @typedef {import('../net/http.js').Data<'GET /admin/server'>} Overview */

export function serverPanel() {
  const box = h('div', { testid: 'admin-overview' }, spinner(t('app.loading')));
  const state = h('div', { role: 'status', testid: 'admin-backup-state' });
  const begin = button('admin-backup', t('admin.backup_now'), async () => {
    begin.disabled = true;
    await call('POST /admin/backup', {}).catch(failed);
    load();
  });
  const load = async () => {
    try {
      const overview = await call('GET /admin/server', {});
      const isNew = !state.isConnected;
      begin.disabled = overview.backup.running;
      state.replaceChildren(...backupState(overview.backup));
      if (isNew) box.replaceChildren(...parts(overview, state, begin));
      // The panel of another tab has taken its place, or the dialog was closed.
      if (overview.backup.running && box.isConnected) setTimeout(load, AGAIN_AFTER_MS);
    } catch (error) {
      begin.disabled = false;
      state.replaceChildren(h('p.quiet', null, /** @type {Error} */ (error).message));
      if (!state.isConnected) box.replaceChildren(state);
    }
  };
  load();
  return [box];
}

/**
 * @param {Overview} overview
 * @param {HTMLElement} state
 * @param {HTMLElement} begin
 */
function parts({ version, errors }, state, begin) {
  const rows = errors.map(({ kind, count, last_at: last, text }) =>
    h(
      'div.fact',
      { testid: 'admin-error' },
      h('bdi', { lang: 'en' }, kind),
      h('span', null, t('admin.error', { count, when: fullTime(last) })),
      h('bdi.quiet.breaks', { lang: 'en', dir: 'ltr' }, text),
    ),
  );
  return those(
    h('div.fact', null, h('span', null, t('admin.version')), h('bdi', null, `natter ${version}`)),
    h('h3', null, t('admin.backup')),
    state,
    h('div.inline', null, begin),
    h('p.quiet', null, t('admin.backup_lead')),
    h('h3', null, t('admin.errors')),
    h('p.quiet', null, t(errors.length ? 'admin.error_lead' : 'admin.no_errors')),
    ...rows,
  );
}

/** @param {Overview['backup']} backup */
function backupState({ running, last, failed: lost }) {
  const size = last?.bytes === null || last?.bytes === undefined ? '' : ` · ${bytes(last.bytes)}`;
  return those(
    running && spinner(t('admin.backup_runs')),
    h('p', null, last ? t('admin.backup_last', { when: fullTime(last.at) }) + size : t('admin.backup_none')),
    lost && h('p', null, t('admin.backup_failed', { when: fullTime(lost.at) })),
    lost && h('p.quiet.breaks', null, h('bdi', { lang: 'en', dir: 'ltr' }, lost.text)),
  );
}
