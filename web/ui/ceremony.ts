// From the tap to the signature. A ceremony can be run again after it failed: it
// goes on where that makes sense, so that nobody confirms twice for one document.

import { Appearance, Preparation, Proof, Refused, Visit, abandon, finish, keep, loadPrepared, prepare, sign } from "./api";
import { Bytes, b64, concat, hex, sha256 } from "./bytes";
import { check, checkFile, refuse, unchanged } from "./check";
import { Own, ensureKey, forgetKey, signWith } from "./keys";
import { confirm } from "./passkey";
import { Viewer } from "./viewer";

/** Step is what happens now, for the words on the sheet. */
export type Step = "key" | "waiting" | "preparing" | "checking" | "confirm" | "finishing";

/** Prove gets the proof for a purpose, "sign" or "key"; a passkey's is bound to the digests. */
export type Prove = (purpose: string, digests: string[], signal: AbortSignal) => Promise<Proof>;

export const byPasskey: Prove = async (purpose, digests, signal) => ({ passkey: await confirm(purpose, digests, signal) });

export interface Ceremony {
  run(): Promise<Visit>;
  /** stop gives up; a document that was prepared goes back to how it was. */
  stop(): void;
}

const pause = (ms: number): Promise<void> => new Promise((go) => setTimeout(go, ms));
const reason = (e: unknown): string => (e instanceof Refused ? e.reason : "");

/** begin gives the ceremony that a session's level asks for. */
export function begin(v: Visit, view: Viewer, look: Appearance, prove: Prove, step: (s: Step) => void): Ceremony {
  return v.level === "standard" ? new OnBehalf(view, look, prove, step) : new WithOwnKey(v.who.mail, view, look, prove, step);
}

/** OnBehalf signs at Standard: the proof is bound to what was shown. */
class OnBehalf implements Ceremony {
  private readonly leave = new AbortController();
  private proof?: Proof;

  constructor(private readonly view: Viewer, private readonly look: Appearance, private readonly prove: Prove, private readonly step: (s: Step) => void) {}

  async run(): Promise<Visit> {
    this.step("confirm");
    this.proof ??= await this.prove("sign", this.view.shown.map((s) => s.sha256), this.leave.signal);
    this.step("finishing");
    try {
      return await sign(this.view.shown, this.look, this.proof);
    } catch (e) {
      if (reason(e) !== "offline") this.proof = undefined;
      throw e;
    }
  }

  stop(): void { this.leave.abort(); }
}

/** Kept is what was prepared for this page: checked, shown, and held until it is signed or let go. */
export class Kept {
  prepared?: { id: string; attributes: Bytes[] };
  gone = new AbortController(); // what is prepared counts no more
  private timer = 0;

  constructor(private readonly view: Viewer) { addEventListener("pagehide", this.letGo); }

  /** check looks at every prepared document, and shows it; a certificate that comes with the signature is null, "whole" gives the documents away as they stand. */
  async check(p: Preparation, certificate: Bytes | null | "whole", hash = "SHA-256"): Promise<{ id: string; attributes: Bytes[] }> {
    const gone = (this.gone = new AbortController());
    this.timer = window.setInterval(() => void keep({ id: p.id }).catch((e) => {
      if (reason(e) !== "preparation-gone" || this.gone !== gone) return;
      this.letGo();
      gone.abort();
    }), 20_000);
    try {
      const documents = p.documents ?? [];
      if (documents.map((d) => d.document).join() !== this.view.shown.map((s) => s.document).join()) refuse("documents");
      const attributes: Bytes[] = [];
      for (const d of documents) {
        const shown = this.view.bytes(d.document)!;
        const file = this.view.document(d.document)!;
        if (file.form) {
          attributes.push(await checkFile(file, shown, await loadPrepared(p.id, d.document, 0), d, certificate === "whole" ? null : certificate, hash));
          continue;
        }
        const bytes = concat(shown, await loadPrepared(p.id, d.document, shown.length));
        if (certificate === "whole") { // and it shows it already
          attributes.push(await unchanged(bytes, shown.length, d));
          continue;
        }
        attributes.push(await check(bytes, shown.length, d, certificate, hash));
        await this.view.preview(d, bytes).catch(() => refuse("unreadable"));
      }
      return (this.prepared = { id: p.id, attributes });
    } catch (e) {
      clearInterval(this.timer);
      abandon(p.id, e instanceof Refused && e.reason === "check-failed" ? e.text : "");
      throw e;
    }
  }

  /** close says that it is signed, or is kept elsewhere. */
  close(): void {
    clearInterval(this.timer);
    removeEventListener("pagehide", this.letGo);
    this.prepared = undefined;
  }

  readonly letGo = (): void => {
    clearInterval(this.timer);
    if (this.prepared) abandon(this.prepared.id);
    this.prepared = undefined;
  };

  /** drop gives everything up, and shows the documents as they were. */
  drop(): void {
    this.gone.abort();
    this.letGo();
    this.close();
    void this.view.restore();
  }
}

/** WithOwnKey signs with the key of this device: prepare, check, confirm, sign, finish. */
class WithOwnKey implements Ceremony {
  private readonly leave = new AbortController();
  private readonly kept: Kept;
  private own?: Own;
  private proof?: Proof;

  constructor(private readonly mail: string, private readonly view: Viewer, private readonly look: Appearance,
    private readonly prove: Prove, private readonly step: (s: Step) => void) {
    this.kept = new Kept(view);
  }

  async run(): Promise<Visit> {
    const { id, attributes } = this.kept.prepared ?? (await this.prepare());
    this.step("confirm");
    this.proof ??= await this.confirmed(attributes);
    this.step("finishing");
    try {
      const values = await Promise.all(attributes.map(async (a) => b64(await signWith(this.own!.pair, a))));
      const v = await finish({ id, values, ...this.proof });
      this.kept.close();
      return v;
    } catch (e) {
      // Without an answer nobody knows whether it arrived: the same may be sent again.
      if (reason(e) !== "offline") this.proof = undefined;
      if (!["offline", "too-fast", "wrong-totp", "wrong-code", "bad-code"].includes(reason(e))) this.kept.letGo();
      throw e;
    }
  }

  /** confirmed gets the proof for what is prepared, and asks no longer when that counts no more. */
  private async confirmed(attributes: Bytes[]): Promise<Proof> {
    const gone = this.kept.gone.signal;
    try {
      return await this.prove("sign", await Promise.all(attributes.map(async (a) => hex(await sha256(a)))), gone);
    } catch (e) {
      throw gone.aborted && !this.leave.signal.aborted ? new Refused("preparation-gone", "") : e;
    }
  }

  stop(): void {
    this.leave.abort();
    this.kept.drop();
  }

  private async key(unfit: boolean): Promise<Own> {
    this.step("key");
    return ensureKey(this.mail, unfit, (spki) => this.proveKey(spki));
  }

  private async proveKey(spki: string): Promise<Proof> {
    this.step("confirm");
    const p = await this.prove("key", [spki], this.leave.signal);
    this.step("key");
    return p;
  }

  private async prepare(): Promise<{ id: string; attributes: Bytes[] }> {
    this.own = await this.key(false);
    for (let renewed = false; ; ) {
      this.goOn();
      this.step("preparing");
      try {
        const p = await prepare({ shown: this.view.shown, appearance: this.look, certificate: this.own.serial });
        this.step("checking");
        const kept = await this.kept.check(p, this.own.certificate);
        this.goOn();
        return kept;
      } catch (e) {
        const why = reason(e);
        if (why === "busy") {
          this.step("waiting");
          await pause(2000);
        } else if (!renewed && ["no-certificate", "certificate-revoked", "certificate-expired"].includes(why)) {
          if (why !== "certificate-expired") await forgetKey(this.mail);
          this.own = await this.key(true);
          renewed = true;
        } else throw e;
      }
    }
  }

  private goOn(): void {
    if (!this.leave.signal.aborted) return;
    this.kept.letGo();
    throw new Refused("passkey-cancelled", "");
  }
}
