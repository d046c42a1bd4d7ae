/**
 * What `coder-lsp serve` speaks besides the Language Server Protocol: notifications and the answers of its commands.
 *
 * Types only describe; whoever reads an answer treats a missing member as "not known", because an older server may be
 * the one on the PATH.
 */

export const SECTION = "coder-lsp";

export const Method = {
  status: "coder-lsp/status",
  didFocus: "coder-lsp/didFocus",
  preview: "coder-lsp/preview",
} as const;

export const ServerCommand = {
  accepted: "coder-lsp.accepted",
  pause: "coder-lsp.pause",
  resume: "coder-lsp.resume",
  chooseModel: "coder-lsp.chooseModel",
  restart: "coder-lsp.restart",
  models: "coder-lsp.models",
  pullModel: "coder-lsp.pullModel",
  context: "coder-lsp.context",
  statsPage: "coder-lsp.statsPage",
  generate: "coder-lsp.generate",
  rewrite: "coder-lsp.rewrite",
  explain: "coder-lsp.explain",
  writeTests: "coder-lsp.writeTests",
} as const;

export type HostState = "stopped" | "starting" | "loading" | "ready" | "generating" | "paused" | "error";

export interface IndexFigures {
  state: "off" | "indexing" | "ready";
  /** Files that can be searched now. */
  files: number;
  /** Files that are still to be read. */
  pending: number;
}

export interface ServerStatus {
  state: HostState;
  model: string;
  engine: string;
  message: string;
  /** 0 to 1 while the model loads. */
  progress: number | null;
  offline?: boolean;
  index?: IndexFigures;
}

export interface Model {
  name: string;
  parameters: string | null;
  bytes: number | null;
  licence: string | null;
  template: string | null;
  installed: boolean;
  /** Its digest is one that the catalogue knows. */
  verified: boolean;
  current: boolean;
  minMemoryGb: number | null;
  note: string | null;
  fault: string | null;
  decodeTokensPerSecond: number | null;
  speedBy: "measured" | "estimated" | null;
}

export interface Models {
  current: string;
  models: Model[];
}

export interface Pulled {
  name: string;
  bytes: number;
  verified: boolean;
  seconds: number;
}

export interface Snippet {
  path: string;
  /** Lines counted from 0; the end is not part of it. */
  startLine: number;
  endLine: number;
  source: string;
  score: number;
  text: string;
}

export interface SeenContext {
  /** The block of other files as the model gets it. */
  text: string;
  tokens: number;
  budget: number;
  /** Why it is empty. */
  reason: string;
  snippets: Snippet[];
}

export interface Span {
  start: { line: number; character: number };
  end: { line: number; character: number };
}

/** What an instruction would come to so far: `text` for `range` of that version of the document. */
export interface Preview {
  id: string;
  uri: string;
  version: number;
  range: Span;
  text: string;
  done: boolean;
}

/** What an instruction came to. */
export interface Instructed {
  task: string;
  text: string;
  range: Span;
  version: number;
  applied: boolean;
  /** Why nothing was written or applied. */
  reason: string;
  model: string;
  engine: string;
}

export interface Page {
  html: string;
}
