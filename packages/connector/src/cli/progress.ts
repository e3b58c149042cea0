/** How far an upload is: a bar that grows in place on a terminal, a line each quarter elsewhere. */
import type { Sentence } from "../causes.ts";

const width = 30;

/** Shows how far it is; give it to an upload as `onProgress`. `end` leaves the cursor on a line of its own. */
export interface Progress {
  readonly show: (doneBytes: number, totalBytes: number) => void;
  readonly end: () => void;
}

/** Makes one for the file `name` on `stream`, standard error as a rule: standard output is for results. */
export function progressOn(
  stream: Pick<NodeJS.WriteStream, "write"> & { readonly isTTY?: boolean | undefined },
  name: string,
  language: keyof Sentence,
): Progress {
  let shown = -1;
  let open = false;
  return {
    show(doneBytes, totalBytes) {
      const percent = totalBytes === 0 ? 100 : Math.floor((doneBytes / totalBytes) * 100);
      const size = `${megabytes(doneBytes)}/${megabytes(totalBytes)} MB`;
      if (stream.isTTY === true) {
        if (percent === shown) return;
        const full = Math.round((percent / 100) * width);
        stream.write(
          `\r${name} [${"#".repeat(full)}${"-".repeat(width - full)}] ${String(percent).padStart(3)} % ${size}`,
        );
        open = true;
      } else {
        if (Math.floor(percent / 25) === Math.floor(shown / 25)) return;
        stream.write({ en: `${name}: ${percent} % (${size})\n`, zh: `${name}：${percent} %（${size}）\n` }[language]);
      }
      shown = percent;
    },
    end() {
      if (open) stream.write("\n");
      open = false;
    },
  };
}

function megabytes(bytes: number): string {
  return (bytes / 1_048_576).toFixed(1);
}
