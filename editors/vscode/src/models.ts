/** Choosing a model: what there is, what it costs, pulling what is not here, and making it the one that is served. */

import * as vscode from "vscode";
import { SECTION, ServerCommand, type Model, type Models, type Pulled } from "./protocol";
import type { Session } from "./session";
import { overridingScope } from "./settings";
import { bytesInWords } from "./view";

interface ModelItem extends vscode.QuickPickItem {
  model?: Model;
}

/** Let the user choose; serves and remembers what was chosen. */
export async function chooseModel(session: Session): Promise<void> {
  const { models } = await session.execute<Models>(ServerCommand.models);
  const picked = await vscode.window.showQuickPick(itemsOf(models), {
    title: "coder-lsp: choose a model",
    placeHolder: "Larger models write better and slower",
    matchOnDescription: true,
    matchOnDetail: true,
  });
  if (picked?.model === undefined) {
    return;
  }
  const model = picked.model;
  if (!model.installed && !(await pullAfterAsking(session, model))) {
    return;
  }
  await serve(session, model.name);
}

/** The model that is wanted, if it is not on this machine; undefined where all is well or nobody knows. */
export async function missingModel(session: Session): Promise<Model | undefined> {
  const { models } = await session.execute<Models>(ServerCommand.models);
  const wanted = models.find((model) => model.current);
  return wanted !== undefined && !wanted.installed ? wanted : undefined;
}

/** Pull with progress; false where the user did not want it, or stopped it. */
export async function pull(session: Session, model: Model): Promise<boolean> {
  return vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title: `coder-lsp: pulling ${model.name}`, cancellable: true },
    async (progress, token) => {
      let share = 0;
      const report = (message: string, percentage: number | undefined) => {
        const increment = percentage === undefined ? 0 : Math.max(0, percentage - share);
        share += increment;
        progress.report({ message, increment });
      };
      try {
        const options = { allowUnverified: !model.verified };
        await session.execute<Pulled>(ServerCommand.pullModel, [model.name, options], token, report);
        return true;
      } catch (error) {
        if (token.isCancellationRequested) {
          void vscode.window.showInformationMessage(
            `coder-lsp: stopped pulling ${model.name}. What is here is kept; pulling again goes on from there.`,
          );
          return false;
        }
        throw error;
      }
    },
  );
}

/** Serve it now, and from now on. */
export async function serve(session: Session, name: string): Promise<void> {
  await session.execute(ServerCommand.chooseModel, [name]);
  await vscode.workspace.getConfiguration(SECTION).update("model", name, vscode.ConfigurationTarget.Global);
  const scope = overridingScope("model");
  if (scope) {
    void vscode.window.showWarningMessage(
      `coder-lsp: ${name} is your model now, but the settings of this ${scope} name another one, which wins here.`,
    );
  }
}

async function pullAfterAsking(session: Session, model: Model): Promise<boolean> {
  const size = bytesInWords(model.bytes);
  const licence = model.licence ?? "not known";
  const detail = model.verified
    ? `Size: ${size}. Licence: ${licence}.`
    : `Size: ${size}. Licence: ${licence}.\n\nIts digest is not known to the catalogue: nobody has checked that this file is what it says.`;
  const go = model.verified ? "Pull" : "Pull Unverified Model";
  const answer = await vscode.window.showInformationMessage(`Pull ${model.name}?`, { modal: true, detail }, go);
  return answer === go && (await pull(session, model));
}

function itemsOf(models: readonly Model[]): ModelItem[] {
  const items: ModelItem[] = [];
  for (const installed of [true, false]) {
    const some = models.filter((model) => model.installed === installed);
    if (some.length > 0) {
      const label = installed ? "On this machine" : "Can be pulled";
      items.push({ label, kind: vscode.QuickPickItemKind.Separator }, ...some.map(itemOf));
    }
  }
  return items;
}

function itemOf(model: Model): ModelItem {
  const facts = [model.parameters, bytesInWords(model.bytes), speedOf(model), model.licence];
  if (model.minMemoryGb) {
    facts.push(`needs ${String(model.minMemoryGb)} GB of memory`);
  }
  if (!model.verified) {
    facts.push("unverified");
  }
  const fault = model.fault ? `$(warning) ${model.fault}` : model.note;
  return {
    label: `${model.current ? "$(check) " : model.installed ? "" : "$(cloud-download) "}${model.name}`,
    description: facts.filter(Boolean).join(" · "),
    ...(fault ? { detail: fault } : {}),
    model,
  };
}

function speedOf(model: Model): string | undefined {
  if (!model.decodeTokensPerSecond) {
    return undefined;
  }
  const speed = `${String(Math.round(model.decodeTokensPerSecond))} tokens/s`;
  return model.speedBy === "measured" ? `${speed} here` : `about ${speed} here`;
}
