// Building blocks of the page. Text reaches the document as text nodes only, so
// nothing that a mail says can become markup.

export type Kid = Node | string | null | undefined | false;
type Attr = string | number | boolean | undefined | ((e: any) => void);

/** h makes an element: on… are listeners, true and false switch an attribute. */
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, attrs: Record<string, Attr> = {}, ...kids: Kid[]): HTMLElementTagNameMap[K] {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(attrs)) {
    if (typeof value === "function") el.addEventListener(name.slice(2), value);
    else if (value === true) el.setAttribute(name, "");
    else if (value !== false && value !== undefined) el.setAttribute(name, String(value));
  }
  el.append(...kids.filter((k): k is Node | string => !!k));
  return el;
}

const paths: Record<string, string> = {
  check: "M5 12.5l4.5 4.5L19 7.5",
  cross: "M6 6l12 12M18 6L6 18",
  clock: "M12 7v5.2l3.4 2M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0",
  pen: "M4 20l1-4.2L16.6 4.2a1.8 1.8 0 0 1 2.6 0l.6.6a1.8 1.8 0 0 1 0 2.6L8.2 19zM14.5 6.3l3.2 3.2",
  mail: "M3.5 6.5h17v11h-17zM4 7l8 6.2L20 7",
  file: "M6 3.5h8l4.5 4.5v12.5H6zM13.8 3.8v4.4h4.4",
  down: "M12 4v11m-4.6-4.4L12 15.2l4.6-4.6M5 19.5h14",
  minus: "M5.5 12h13",
  plus: "M5.5 12h13M12 5.5v13",
  alert: "M12 8.6v4.6m0 3.1v.1M10.4 4.3L2.9 17.4a1.9 1.9 0 0 0 1.6 2.8h15a1.9 1.9 0 0 0 1.6-2.8L13.6 4.3a1.9 1.9 0 0 0-3.2 0",
  lock: "M6.5 10.8h11v8.7h-11zM8.8 10.6V8.2a3.2 3.2 0 0 1 6.4 0v2.4",
  key: "M8 15.8a3.8 3.8 0 1 1 3.6-5H21v3.1h-2v2.4h-3v-2.4h-4.5A3.8 3.8 0 0 1 8 15.8zM8 12v.1",
  device: "M7.5 3h9v18h-9zM11 18h2",
  seal: "M12 3.2l2.3 1.7 2.9-.1.8 2.7 2.3 1.7-.9 2.8.9 2.8-2.3 1.7-.8 2.7-2.9-.1L12 20.8l-2.3-1.7-2.9.1-.8-2.7-2.3-1.7.9-2.8-.9-2.8L6 7.5l.8-2.7 2.9.1zM8.8 12l2.3 2.3 4.2-4.4",
};

/** icon is a picture that says nothing that the text beside it does not say. */
export function icon(name: string, cls = ""): SVGElement {
  const ns = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(ns, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon " + cls);
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(ns, "path");
  path.setAttribute("d", paths[name]);
  svg.append(path);
  return svg;
}

/** say tells a screen reader what has changed. */
export function say(text: string): void {
  const live = document.getElementById("live")!;
  live.textContent = "";
  setTimeout(() => (live.textContent = text), 60); // a change, even when the words are the same
}

let ids = 0;
export const id = (): string => "n" + ++ids;

/** busy shows that a button works, and keeps it from being pressed twice. */
export async function busy<T>(button: HTMLButtonElement, work: () => Promise<T>): Promise<T> {
  button.disabled = true;
  button.classList.add("busy");
  try {
    return await work();
  } finally {
    button.disabled = false;
    button.classList.remove("busy");
  }
}
