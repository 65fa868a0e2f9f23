// repair: brings a store back to what it says that it holds, with the help of the registries that
// its images came from.
#pragma once

#include <functional>
#include <memory>
#include <stop_token>
#include <vector>

#include "base/result.h"
#include "oci/reference.h"
#include "registry/repository.h"
#include "store/repair.h"

namespace kasane::transfer {

using OpenRepository =
    std::function<Result<std::unique_ptr<registry::Repository>>(const oci::Reference&)>;

// Everything that was done, in order. What could be neither made again nor fetched was dropped,
// with all that needs it. Afterwards the store is sound, unless it is damaged meanwhile.
Result<std::vector<store::RepairAction>> repair(store::Store& store, const OpenRepository& open,
                                                const std::stop_token& stop);

}  // namespace kasane::transfer
