/** Reads what pip and the compiler print: how far they are, and what went wrong in words that help. */

import { howToGetCompiler, howToGetPython } from "./python";

/** What to show of a line of output; undefined for most lines. */
export function progressOf(line: string): string | undefined {
  const counter = /^\s*\[(\d+)\/(\d+)\] /.exec(line);
  if (counter) {
    return `compiling (${counter[1] ?? ""} of ${counter[2] ?? ""})`;
  }
  const step = /^\s*(?:Collecting|Downloading|Building wheel for|Installing collected packages:)\s+([\w.-]+)/.exec(line);
  if (step?.[1] === undefined) {
    return undefined;
  }
  if (/^\s*Building/.test(line)) {
    return step[1].startsWith("llama") ? "compiling llama.cpp: about ten minutes, once" : `building ${step[1]}`;
  }
  return /^\s*Installing/.test(line) ? "installing" : `getting ${step[1]}`;
}

const CAUSES: [RegExp, () => string][] = [
  [/No space left on device/i, () => "The disk is full. Make 2 GB free and try again; what was compiled is kept."],
  [
    /ensurepip is not available|No module named (?:venv|ensurepip)/i,
    () => `This Python has no venv module. ${howToGetPython()}`,
  ],
  [/Python\.h: No such file/i, () => `The header files of Python are missing. ${howToGetPython()}`],
  [
    /CMAKE_CXX_COMPILER|CMAKE_C_COMPILER|No CMAKE_\w+ could be found|(?:g\+\+|gcc|c\+\+|cc): not found/i,
    () => `There is no working C++ compiler. ${howToGetCompiler()}`,
  ],
  [
    /Temporary failure in name resolution|Name or service not known|getaddrinfo failed|NewConnectionError|Network is unreachable|Connection refused|ProxyError|ReadTimeout|ConnectTimeout/i,
    () => "The package index cannot be reached. Check the network (or pip's proxy settings) and try again.",
  ],
  [
    /No matching distribution found for (\S+)/i,
    () =>
      "The package index has not got a package that is needed. If you are offline, connect and try again; else look at the log.",
  ],
  [/(?:ninja|make).*(?:stopped|failed)|CMake Error/i, () => "Compiling failed. The log says at which file."],
  [/\bKilled\b|signal 9|std::bad_alloc|out of memory/i, () => "Compiling ran out of memory. Close other programs and try again."],
];

/** One sentence or two about a failed step, with what to do. */
export function diagnose(output: string, code: number | null): string {
  for (const [pattern, words] of CAUSES) {
    if (pattern.test(output)) {
      return words();
    }
  }
  const last = output
    .split("\n")
    .reverse()
    .find((line) => /error/i.test(line));
  return `The installation failed (exit status ${String(code)})${last ? `: ${last.trim()}` : ""}. The log says more.`;
}
