// How much each input of a matrix matters: the mean square of what flows into it, over real text.
//
// An error in a weight costs in proportion to the square of what it is multiplied with, so that is what the
// quantiser is told to weigh errors by.

#pragma once

#include <map>
#include <string>
#include <vector>

#include "requantise_model.h"

namespace coder_lsp {

// Name of a weight -> mean square of each of its inputs. Matrices of experts are left out.
using Importance = std::map<std::string, std::vector<float>>;

// Evaluates the texts, each from an empty cache. Throws Fault, and what `on_share` throws.
Importance collect_importance(const MeasuredModel& model, std::vector<Tokens> texts, const OnShare& on_share);

}  // namespace coder_lsp
