// The only place that touches the document's nodes. Text goes in as text, and only where it changed.

export const $ = (id) => document.getElementById(id);

export function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function attr(node, name, value) {
  if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

export function make(tag, classes = "", ...children) {
  const node = document.createElement(tag);
  if (classes) node.className = classes;
  node.append(...children);
  return node;
}

// What comes from elsewhere may be written from right to left: it must not turn what is around it.
export const foreign = (classes = "") => make("bdi", classes);

export function unseen(text) {
  return make("span", "unseen", text);
}

// Have one child for each item: kept by its key, made when it is new, in the items' order.
export function each(parent, items, key, create, update) {
  const kept = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  items.forEach((item, index) => {
    const name = key(item);
    const node = kept.get(name) ?? create(item);
    node.dataset.key = name;
    update(node, item);
    if (parent.children[index] !== node) parent.insertBefore(node, parent.children[index] ?? null);
  });
  while (parent.children.length > items.length) parent.lastElementChild.remove();
}

// The part of a node that is called so: `create` names parts, `update` fills them.
export const part = (node, name) => node.querySelector(`.${name}`);
