// @ts-check
// What the pages of an admin share: a list that grows page by page, and the suspension of a member.

import { t } from '../i18n.js';
import { call } from '../net/http.js';
import { h } from './dom.js';
import { confirm, failed } from './layers.js';
import { button, spinner } from './parts.js';

/**
 * A list that is loaded page by page, as far as is asked for.
 * @template Item
 * @param {string} testid
 * @param {(next: string | undefined) => Promise<{data: Item[], next: string | null}>} page
 * @param {(item: Item, load: () => unknown) => HTMLElement} row
 */
export function pagedList(testid, page, row) {
  const list = h('ul.people', { testid }, spinner(t('app.loading')));
  const more = button(`${testid}-more`, t('admin.more'), () => go(next));
  more.hidden = true;
  let next = /** @type {string | null} */ (null);
  let turn = 0;
  /** @param {string | null} from */
  const go = async (from) => {
    const mine = ++turn;
    try {
      const { data, next: rest } = await page(from ?? undefined);
      if (mine !== turn) return;
      if (!from) list.replaceChildren();
      list.append(...data.map((item) => row(item, load)));
      if (!list.children.length) list.append(h('li.quiet.center', null, t('admin.none')));
      next = rest;
      more.hidden = !rest;
    } catch (error) {
      if (mine === turn) list.replaceChildren(h('li.quiet.center', null, error.message));
    }
  };
  const load = () => go(null);
  load();
  return { list, more, load };
}

/**
 * @param {string} who
 * @param {string} name
 * @param {() => unknown} load
 */
export async function suspend(who, name, load) {
  const question = { title: t('admin.suspend_title', { name }), more: t('admin.suspend_more') };
  if (!(await confirm({ ...question, action: t('admin.suspend') }))) return;
  call('POST /admin/members/disable', { who }).then(load, failed);
}
