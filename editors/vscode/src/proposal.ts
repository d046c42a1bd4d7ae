/**
 * What becomes of a place in a text that the user goes on to edit, and of Markdown that a model wrote: pure, no VS Code.
 *
 * Offsets are UTF-16 units, as VS Code's.
 */

/** The part of a text from `start` to `end`. */
export interface Place {
  start: number;
  end: number;
}

/** One of the edits of an event, in offsets of the text before all of them. */
export interface Change {
  rangeOffset: number;
  rangeLength: number;
  text: string;
}

/** Where the place is after these edits; undefined if one of them reaches or touches it. */
export function moved(place: Place, changes: readonly Change[]): Place | undefined {
  let shift = 0;
  for (const { rangeOffset, rangeLength, text } of changes) {
    if (rangeOffset + rangeLength < place.start) {
      shift += text.length - rangeLength;
    } else if (rangeOffset <= place.end) {
      return undefined;
    }
  }
  return { start: place.start + shift, end: place.end + shift };
}

/** The text with something else in the place. */
export function replaced(text: string, place: Place, put: string): string {
  return text.slice(0, place.start) + put + text.slice(place.end);
}

const FENCE_OPENS = /^(?:(`{3,})[^`]*|(~{3,}).*)$/;

/** Any line that could open or close a fenced block somewhere else than at the margin. */
const NESTED_FENCE = /^(?=[\s>*+\-\d]).*(?:`{3,}|~{3,})/m;

/**
 * Markdown that fetches nothing when it is shown: VS Code's preview loads the images of a text, and what a model repeats
 * of a file could name one that tells its host what was read. A space of no width takes the meaning from `![` and `<x`.
 * Fenced code stays as it is, so that it can be copied, but only where each fence is at the margin: there it is plain
 * which lines are inside.
 */
export function harmless(markdown: string): string {
  if (NESTED_FENCE.test(markdown)) {
    return defused(markdown);
  }
  let fence = "";
  return markdown
    .split(/\r\n|\r|\n/)
    .map((line) => {
      if (fence !== "") {
        const closes = line.trimEnd();
        if (closes.startsWith(fence) && closes === closes.charAt(0).repeat(closes.length)) {
          fence = "";
        }
        return line;
      }
      const opens = FENCE_OPENS.exec(line);
      fence = opens?.[1] ?? opens?.[2] ?? "";
      // What follows the fence on its line is shown nowhere.
      return defused(line);
    })
    .join("\n");
}

function defused(text: string): string {
  return text.replace(/!\[/g, "!\u200b[").replace(/<(?=[a-z!/?])/gi, "<\u200b");
}
