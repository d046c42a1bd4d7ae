/**
 * The user's settings as the server wants them: only what somebody has set.
 *
 * What the editor sends wins over the user's `config.toml`. A default of package.json that was sent would therefore
 * undo what that file says, so values come from `inspect` and never from `get`.
 */

import * as vscode from "vscode";
import { SECTION } from "./protocol";

/** Sections that are the extension's own; the server never sees them. */
const OF_THE_CLIENT = ["server", "trace", "ui"];

const ENABLED = "completion.enabled";

type Inspected = NonNullable<ReturnType<vscode.WorkspaceConfiguration["inspect"]>>;

/** Keys of package.json that the server knows, without the section. */
export function serverKeys(extension: vscode.Extension<unknown>): string[] {
  const manifest = extension.packageJSON as {
    contributes: { configuration: { properties: Record<string, unknown> }[] };
  };
  return manifest.contributes.configuration
    .flatMap((category) => Object.keys(category.properties))
    .map((key) => key.slice(SECTION.length + 1))
    .filter((key) => !OF_THE_CLIENT.includes(key.split(".")[0] ?? ""));
}

/** The section `coder-lsp` with nothing in it that nobody has set. */
export function explicitSettings(keys: readonly string[], resource?: vscode.Uri): Record<string, unknown> {
  const configuration = vscode.workspace.getConfiguration(SECTION, resource ?? null);
  const settings: Record<string, unknown> = {};
  for (const key of keys) {
    const value = key === ENABLED ? enabledAnywhere(configuration) : explicitValue(configuration.inspect(key));
    if (value !== undefined) {
      put(settings, key.split("."), value);
    }
  }
  return settings;
}

/**
 * Whether suggestions are switched off for this document by the editor's settings.
 *
 * Asked for each request because the server takes one answer for all languages: a `"[markdown]"` block can only be
 * honoured here.
 */
export function isDisabledHere(document: vscode.TextDocument): boolean {
  const inspected = vscode.workspace.getConfiguration(SECTION, document).inspect<boolean>(ENABLED);
  return (explicitForLanguage(inspected) ?? explicitValue(inspected)) === false;
}

/** A setting of the extension itself, defaults included. */
export function own(key: string, fallback: string): string {
  return vscode.workspace.getConfiguration(SECTION).get<string>(key, fallback);
}

/** What somebody has set for all languages, the narrowest scope first. */
export function explicitValue(inspected: Inspected | undefined): unknown {
  return inspected?.workspaceFolderValue ?? inspected?.workspaceValue ?? inspected?.globalValue;
}

/** Where a value is set that wins over the user's own; undefined if nothing does. */
export function overridingScope(key: string): "workspace" | "folder" | undefined {
  const inspected = vscode.workspace.getConfiguration(SECTION).inspect(key);
  if (inspected?.workspaceFolderValue !== undefined) {
    return "folder";
  }
  return inspected?.workspaceValue === undefined ? undefined : "workspace";
}

function explicitForLanguage(inspected: Inspected | undefined): unknown {
  return (
    inspected?.workspaceFolderLanguageValue ?? inspected?.workspaceLanguageValue ?? inspected?.globalLanguageValue
  );
}

/** The value for all languages, but on where any one language has it on: the others are held back here. */
function enabledAnywhere(configuration: vscode.WorkspaceConfiguration): unknown {
  const inspected = configuration.inspect<boolean>(ENABLED);
  const value = explicitValue(inspected);
  if (value !== false) {
    return value;
  }
  const on = (inspected?.languageIds ?? []).some(
    (languageId) =>
      explicitForLanguage(vscode.workspace.getConfiguration(SECTION, { languageId }).inspect<boolean>(ENABLED)) ===
      true,
  );
  return on ? true : value;
}

function put(into: Record<string, unknown>, path: string[], value: unknown): void {
  const [head, ...rest] = path;
  if (head === undefined) {
    return;
  }
  if (rest.length === 0) {
    into[head] = value;
    return;
  }
  const inner = (into[head] ?? {}) as Record<string, unknown>;
  into[head] = inner;
  put(inner, rest, value);
}
