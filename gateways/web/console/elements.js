/* Elements, made of names, attributes and children.

   Text only ever becomes text nodes and attributes: what a client or an instrument is called is never read as HTML. */

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element. An attribute `onclick` is a listener; one that is true is present, false or undefined is not. */
export function element(name, attributes = {}, ...children) {
  return furnished(document.createElement(name), attributes, children);
}

/** An SVG element. */
export function shape(name, attributes = {}, ...children) {
  return furnished(document.createElementNS(SVG, name), attributes, children);
}

/** Change a text where it differs: a node that is left alone costs nothing, and keeps a selection. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function furnished(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child !== undefined && child !== null));
  return made;
}
