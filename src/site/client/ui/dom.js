// @ts-check
// How elements are made and kept in step with a list.
//
// Invariant: text enters the page as text nodes only, and nothing here parses markup.

/**
 * An element: its name with classes (`div.row.end`), its properties (functions are listeners, `testid` and `data` are
 * data attributes), and its children.
 * @param {string} tag
 * @param {Record<string, any> | null} [props]
 * @returns {any}
 */
export function h(tag, props, ...children) {
  const [name, ...classes] = tag.split('.');
  /** @type {any} */
  const element = document.createElement(name || 'div');
  if (classes.length) element.className = classes.join(' ');
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined) continue;
    if (typeof value === 'function') element.addEventListener(key.slice(2), value);
    else if (key === 'testid') element.dataset.testid = value;
    else if (key === 'data') Object.assign(element.dataset, value);
    else if (key === 'value' || typeof value === 'boolean') element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** @typedef {{key: (item: any) => string, sign: (item: any) => string, create: (item: any) => any,
 *   draw: (element: any, item: any) => void}} Rows */

// Makes `container` hold exactly `items`, in order. Reuses the element of each key, so that focus, selection and scroll
// position survive. An item is redrawn only if its `sign` changed.
export function reconcile(container, items, { key, sign, create, draw }) {
  const held = new Map();
  for (const element of container.children) held.set(element.__key, element);
  let place = container.firstElementChild;
  for (const item of items) {
    const id = key(item);
    let element = held.get(id);
    if (element) held.delete(id);
    else {
      element = create(item);
      element.__key = id;
    }
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
