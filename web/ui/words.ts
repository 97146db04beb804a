// The page's words, from a catalogue for each language, and numbers and times
// as people of that language write them.

export const languages: Record<string, string> = { en: "English", de: "Deutsch", fr: "Français" };

let catalogue: Record<string, string> = {};
export let lang = "en";

const stored = (): string | null => {
  try { return localStorage.getItem("language"); } catch { return null; }
};

/** choose takes the visitor's own choice, else the directory's, else the browser's. */
export async function choose(directory?: string): Promise<void> {
  const wishes = [stored(), directory, ...(directory ? [] : navigator.languages), "en"];
  const l = wishes.map((w) => (w || "").slice(0, 2).toLowerCase()).find((w) => w in languages)!;
  if (l === lang && Object.keys(catalogue).length) return;
  const r = await fetch(`${assets}/i18n/${l}.json`);
  catalogue = await r.json();
  lang = l;
  document.documentElement.lang = l;
}

export function prefer(l: string): void {
  try { localStorage.setItem("language", l); } catch { /* then only until the page is left */ }
}

export const assets = document.documentElement.dataset.assets!;

const ranges = document.documentElement.dataset.printed!.replace(/([0-9a-f]+)-([0-9a-f]+),?/g, "\\u{$1}-\\u{$2}");
const printed = new RegExp(`^[${ranges}]*$`, "u");
/** printable says whether the fonts of signatures have all characters of a name. */
export const printable = (name: string): boolean => printed.test(name.normalize().replace(/\s+/g, " "));

/** t is a text with its {names} filled in; with a number n, in its plural form. */
export function t(key: string, values: Record<string, string | number> = {}): string {
  if (typeof values.n === "number") {
    const form = `${key}.${new Intl.PluralRules(lang).select(values.n)}`;
    key = [form, key + ".other"].find((k) => k in catalogue) ?? key;
  }
  return (catalogue[key] ?? key).replace(/\{(\w+)\}/g, (_, k) => String(values[k] ?? ""));
}

export const has = (key: string): boolean => key in catalogue;

export const when = (iso: string): string =>
  new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "short" }).format(new Date(iso));
export const day = (iso: string): string => new Intl.DateTimeFormat(lang, { dateStyle: "long" }).format(new Date(iso));

/** left says how long it is until then: in 12 days, in 3 hours. */
export function left(iso: string): string {
  const minutes = (new Date(iso).getTime() - Date.now()) / 60_000;
  const f = new Intl.RelativeTimeFormat(lang, { numeric: "auto" });
  if (minutes >= 36 * 60) return f.format(Math.round(minutes / 1440), "day");
  if (minutes >= 90) return f.format(Math.round(minutes / 60), "hour");
  return f.format(Math.max(0, Math.round(minutes)), "minute");
}

export function size(bytes: number): string {
  const [n, unit] = bytes < 1e6 ? [Math.max(1, Math.round(bytes / 1e3)), "kilobyte"] : [bytes / 1e6, "megabyte"];
  return new Intl.NumberFormat(lang, { style: "unit", unit, maximumFractionDigits: 1 }).format(n as number);
}

/** list joins names: a, b and c. */
export const list = (names: string[]): string => new Intl.ListFormat(lang).format(names);
