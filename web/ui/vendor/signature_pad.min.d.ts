// The part of signature_pad that the page uses.
export interface Group { points: { x: number; y: number; time: number; pressure: number }[] }
export default class SignaturePad extends EventTarget {
  constructor(canvas: HTMLCanvasElement, options?: object);
  clear(): void;
  isEmpty(): boolean;
  toData(): Group[];
  fromData(groups: Group[]): void;
  off(): void;
}
