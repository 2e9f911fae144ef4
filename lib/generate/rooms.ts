/** Rooms on the GPU for texts that are being written: a call has one for itself, and the latest stay for the next calls. */

import { Decoding, type DecodingParts, type DecodingSize, disposedError } from "./decoding.ts";
import { checkTexts, mostTexts, type WantedRoom } from "./text_room.ts";

/** Rooms that stay on the GPU for the next call. */
const mostKept = 2;

/** Room for texts that one call has for itself until it is disposed of. */
export interface Lease extends Disposable {
  readonly decoding: Decoding;
}

/** The rooms that no call uses, the latest last, with those that they are of. */
class KeptRooms {
  #all: { readonly owner: Rooms; readonly decoding: Decoding }[] = [];

  /** The owner's room of this size, if it is here; it is not kept any longer. */
  take(owner: Rooms, { texts, capacity }: DecodingSize): Decoding | undefined {
    const at = this.#all.findIndex(({ owner: own, decoding: { size } }) =>
      own === owner && size.texts === texts && size.capacity === capacity
    );
    return at < 0 ? undefined : this.#all.splice(at, 1)[0].decoding;
  }

  /** Bytes of all of them. */
  get bytes(): number {
    return this.#all.reduce((sum, { decoding }) => sum + decoding.bytes, 0);
  }

  keep(owner: Rooms, decoding: Decoding): void {
    this.#all.push({ owner, decoding });
    while (this.#all.length > mostKept) this.#all.shift()!.decoding[Symbol.dispose]();
  }

  /** Frees those of an owner, or all. */
  free(owner?: Rooms): void {
    const { freed = [], others = [] } = Object.groupBy(
      this.#all,
      (room) => !owner || room.owner === owner ? "freed" : "others",
    );
    this.#all = others;
    for (const { decoding } of freed) decoding[Symbol.dispose]();
  }
}

/** Rooms for the texts of one model and adapter. Two calls at once have one each. */
export class Rooms implements Disposable {
  readonly #kept: KeptRooms;
  #isDisposed = false;

  /** With `sharing`, both together keep as many rooms as one does. */
  constructor(private readonly parts: DecodingParts, sharing?: Rooms) {
    this.#kept = sharing ? sharing.#kept : new KeptRooms();
  }

  /**
   * The room: one that is kept, or a new one, for which the kept ones go where memory is short. Throws an Error that says how many
   * texts have room where these have none.
   */
  lease(wanted: WantedRoom): Lease {
    if (this.#isDisposed) throw disposedError();
    checkTexts(this.parts, wanted, this.#kept.bytes);
    const decoding = this.#kept.take(this, wanted.size) ?? this.#made(wanted);
    return { decoding, [Symbol.dispose]: () => this.#giveBack(decoding) };
  }

  #made({ size, longest }: WantedRoom): Decoding {
    if (size.texts > mostTexts(this.parts, size.capacity, longest)) this.#kept.free();
    return new Decoding(this.parts, size);
  }

  #giveBack(decoding: Decoding): void {
    // Where nothing was ever read there may be no memory for the texts.
    if (this.#isDisposed || decoding.lengths.length === 0) decoding[Symbol.dispose]();
    else this.#kept.keep(this, decoding);
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    this.#kept.free(this);
  }
}
