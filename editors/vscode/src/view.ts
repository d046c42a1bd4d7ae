/** How a state looks in the status bar: pure, from a state to words. */

import type { IndexFigures, ServerStatus } from "./protocol";
import type { State } from "./state";

export type Kind =
  | "noServer"
  | "installing"
  | "starting"
  | "failed"
  | "error"
  | "paused"
  | "loading"
  | "generating"
  | "indexing"
  | "ready"
  | "idle";

export interface View {
  kind: Kind;
  icon: string;
  text: string;
  /** A heading and lines of Markdown; what came from elsewhere is escaped. */
  title: string;
  lines: string[];
  severity?: "warning" | "error";
}

/** `pausedBy`: null everywhere, a language or file that is paused, undefined for nothing. */
export function viewOf(state: State, pausedBy: string | null | undefined): View {
  const { life, note, server } = state;
  switch (life) {
    case "none":
      return {
        kind: "noServer",
        icon: "circle-slash",
        text: "no server",
        title: "There is no server",
        lines: [note ? escape(note) : "Click to install it, or to say where it is."],
        severity: "warning",
      };
    case "installing":
      return {
        kind: "installing",
        icon: "sync~spin",
        text: "installing",
        title: "Installing the server",
        lines: [escape(note), "The first time compiles llama.cpp: about ten minutes, once."],
      };
    case "starting":
    case "restarting":
      return {
        kind: "starting",
        icon: "loading~spin",
        text: "starting",
        title: life === "starting" ? "Starting the server" : "The server ended and is being started again",
        lines: note ? [escape(note)] : [],
      };
    case "failed":
      return {
        kind: "failed",
        icon: "error",
        text: "stopped",
        title: "The server does not run",
        lines: [escape(note), "Click to restart it, for its log and for the doctor."],
        severity: "error",
      };
    case "running":
      return server === undefined
        ? { kind: "starting", icon: "loading~spin", text: "starting", title: "The server has started", lines: [] }
        : viewOfServer(server, pausedBy);
  }
}

function viewOfServer(server: ServerStatus, pausedBy: string | null | undefined): View {
  const lines = facts(server);
  if (server.state === "error") {
    return {
      kind: "error",
      icon: "error",
      text: "problem",
      title: "No suggestions",
      lines: [escape(server.message), "Click for the log, a restart and the doctor."],
      severity: "error",
    };
  }
  if (server.state === "paused" || pausedBy !== undefined) {
    const where = pausedBy === null || pausedBy === undefined ? "everywhere" : "here";
    return { kind: "paused", icon: "debug-pause", text: "paused", title: `Paused ${where}`, lines: [...lines, "Click to resume."] };
  }
  if (server.state === "loading" || server.state === "starting") {
    const share = server.progress === null ? "" : `${String(Math.round(100 * server.progress))} %`;
    return {
      kind: "loading",
      icon: "loading~spin",
      text: share === "" ? "loading" : share,
      title: share === "" ? "Loading the model" : `Loading the model: ${share}`,
      lines,
    };
  }
  if (server.state === "generating") {
    return { kind: "generating", icon: "loading~spin", text: "", title: "Writing a suggestion", lines };
  }
  if (server.index?.state === "indexing") {
    return { kind: "indexing", icon: "database", text: "indexing", title: "Indexing the workspace", lines };
  }
  if (server.state === "stopped") {
    return {
      kind: "idle",
      icon: "circle-outline",
      text: "",
      title: "The model is not loaded",
      lines: [...lines, "It is loaded when you type."],
    };
  }
  return { kind: "ready", icon: "sparkle", text: "", title: "Ready", lines };
}

function facts(server: ServerStatus): string[] {
  const lines = [];
  if (server.model) {
    lines.push(`Model: ${escape(server.model)}${server.engine ? ` (${escape(server.engine)})` : ""}`);
  }
  if (server.index) {
    lines.push(indexLine(server.index));
  }
  if (server.offline) {
    lines.push("Offline: the network is not used, not even to pull a model.");
  }
  if (server.message && server.state !== "error") {
    lines.push(escape(server.message));
  }
  return lines;
}

function indexLine(index: IndexFigures): string {
  const files = `${String(index.files)} file${index.files === 1 ? "" : "s"}`;
  switch (index.state) {
    case "off":
      return "No other files are shown to the model.";
    case "indexing":
      return `Index: ${files}, ${String(index.pending)} to go.`;
    case "ready":
      return `Index: ${files}.`;
  }
}

/** Text from elsewhere as Markdown that shows it and does nothing else. */
export function escape(text: string): string {
  return text.replace(/[\\`*_{}[\]()#+\-.!<>|~$&]/g, "\\$&").replace(/\s+/g, " ");
}

/** 491400064 -> "491 MB". */
export function bytesInWords(bytes: number | null | undefined): string {
  if (!bytes) {
    return "size not known";
  }
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${String(Math.round(bytes / 1e6))} MB`;
}
