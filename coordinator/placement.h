// Placement: which task of an attempt runs on which worker. A pure function.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "millrace/v1/worker_service.pb.h"

namespace millrace {

struct PlacementWorker {
  std::string worker_id;
  std::string data_address;
  uint32_t cores = 1;
  uint32_t tasks = 0;  // Of other jobs, already there.
};

// Of all of them, within the limit of a graph's parallelism.
uint32_t CoresOf(const std::vector<PlacementWorker>& workers);

// Tasks by chain, then index, with their key groups. Every chain alone is spread evenly by cores; a
// tie goes to the worker with fewer tasks of all. Within these numbers a task stays where
// `previous` had it, else tasks of one index come together, so that channels stay within a worker.
// `workers`: not empty; their order does not matter.
std::vector<v1::Task> PlaceTasks(const std::vector<v1::Chain>& chains, uint32_t max_parallelism,
                                 std::vector<PlacementWorker> workers,
                                 const std::vector<v1::Task>& previous);

}  // namespace millrace
