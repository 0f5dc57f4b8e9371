// @ts-check
// How elements are made and kept in step with a list.
//
// Invariant: text enters the page as text nodes only, and nothing here parses markup.

/**
 * @template {string} N
 * @typedef {N extends keyof HTMLElementTagNameMap ? HTMLElementTagNameMap[N] : HTMLElement} Tag
 */
/**
 * @template {string} T
 * @typedef {T extends `${infer N}.${string}` ? Tag<N> : Tag<T>} Made
 */
/** @typedef {string | Node | null | undefined | false} Child */
/**
 * Values of attributes and properties; functions are listeners, `testid` and `data` are data attributes.
 * @typedef {object} Props
 * @property {string} [testid]
 * @property {Record<string, string>} [data]
 * @property {(event: MouseEvent) => unknown} [onclick]
 * @property {(event: SubmitEvent) => unknown} [onsubmit]
 * @property {(event: KeyboardEvent) => unknown} [onkeydown]
 * @property {(event: Event) => unknown} [onchange]
 * @property {(event: Event) => unknown} [onclose]
 * @property {(event: Event) => unknown} [onerror]
 */
/** @typedef {string | number | boolean | null | undefined} Value */

/**
 * An element: its name with classes (`div.row.end`), its properties and its children.
 * @template {string} T
 * @param {T} tag
 * @param {Props & {[name: string]: Value | Props[keyof Props]} | null} [props]
 * @param {Array<Child | Child[]>} children
 * @returns {Made<T>}
 */
export function h(tag, props, ...children) {
  const [name, ...classes] = tag.split('.');
  const element = document.createElement(name || 'div');
  if (classes.length) element.className = classes.join(' ');
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined) continue;
    if (typeof value === 'function') element.addEventListener(key.slice(2), /** @type {EventListener} */ (value));
    else if (key === 'testid') element.dataset.testid = String(value);
    else if (typeof value === 'object') Object.assign(element.dataset, value);
    else if (key === 'value' || typeof value === 'boolean') Object.assign(element, { [key]: value });
    else element.setAttribute(key, String(value));
  }
  for (const child of children.flat()) if (child || child === '') element.append(child);
  return /** @type {Made<T>} */ (element);
}

/** The children that there are. */
export const those = (/** @type {Child[]} */ ...children) =>
  /** @type {Array<string | Node>} */ (children.filter(Boolean));

/**
 * Draws the one child of `parent` anew: it stays the same element, which may have the focus.
 * @param {HTMLElement} parent
 * @param {HTMLElement} fresh
 */
export function become(parent, fresh) {
  const child = parent.firstElementChild;
  if (!child) return parent.append(fresh);
  for (const name of child.getAttributeNames()) if (!fresh.hasAttribute(name)) child.removeAttribute(name);
  for (const { name, value } of fresh.attributes) child.setAttribute(name, value);
  child.replaceChildren(...fresh.childNodes);
}

/** @typedef {HTMLElement & {__key?: string, __sign?: string}} Keyed an element of a list */
/**
 * @template I
 * @typedef {{key: (item: I) => string, sign: (item: I) => string, create: (item: I) => HTMLElement,
 *   draw: (element: HTMLElement, item: I) => void}} Rows
 */

/**
 * Makes `container` hold exactly `items`, in order. Reuses the element of each key, so that focus, selection and scroll
 * position survive. An item is redrawn only if its `sign` changed.
 * @template I
 * @param {HTMLElement} container
 * @param {I[]} items
 * @param {Rows<I>} rows
 */
export function reconcile(container, items, { key, sign, create, draw }) {
  /** @type {Map<string | undefined, Keyed>} */
  const held = new Map();
  for (const element of /** @type {Iterable<Keyed>} */ (container.children)) held.set(element.__key, element);
  let place = container.firstElementChild;
  for (const item of items) {
    const id = key(item);
    /** @type {Keyed} */
    const element = held.get(id) ?? create(item);
    held.delete(id);
    element.__key = id;
    const signature = sign(item);
    if (element.__sign !== signature) {
      element.__sign = signature;
      draw(element, item);
    }
    if (element === place) place = place.nextElementSibling;
    else container.insertBefore(element, place);
  }
  for (const element of held.values()) element.remove();
}
