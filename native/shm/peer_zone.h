// The servers of upstream groups in shared memory: `zone NAME SIZE`. All workers see the same
// weights, failures and connections, and the same changes of the lists. A fixed number of slots,
// each a group or a server; whoever holds a slot's number and id can tell whether it is still the
// same.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "shm/mutex.h"

namespace moonphase::shm {

// What of a server changes while requests run.
struct PeerState {
  int32_t weight = 1, effective_weight = 1, current_weight = 0;
  int32_t max_fails = 1, max_conns = 0;
  int32_t fails = 0, conns = 0;
  uint32_t down = 0;
  int64_t fail_timeout = 10;          // seconds
  int64_t accessed = 0, checked = 0;  // wall seconds
};

constexpr size_t kPeerAddress = 128, kPeerName = 120, kPeerServer = 272, kPeerGroupName = 256;

// A server as it is put in and read out.
struct PeerEntry {
  uint64_t id = 0;  // 0: not in a zone
  uint32_t slot = 0;
  bool backup = false;
  bool resolved = false;  // one of the addresses of a name that is resolved again and again
  std::string address;    // bytes of the sockaddr
  std::string name, server;
  PeerState state;
};
struct PeerGroupEntry {
  std::string name;
  uint64_t id = 0, version = 0;
  uint64_t config = 0;           // fingerprint of the `upstream` block that it was made of
  bool added = false;            // at run time
  uint32_t method = 0;           // of an added group: what the engine calls it
  std::vector<PeerEntry> peers;  // in order
};

class PeerZone {
 public:
  // The memory of a zone, zero where nobody has formatted it. False: *error.
  static bool open(char* base, uint64_t size, PeerZone* out, std::string* error);
  static constexpr uint64_t kLeastSize = 8 * 4096;

  explicit operator bool() const { return base_ != nullptr; }
  // Changes with every change of a group's list.
  uint64_t version() const;

  // For the following ones. A thread holds one such lock at a time.
  void lock();
  void unlock();

  std::vector<PeerGroupEntry> read();
  // Null: no such server any more.
  PeerState* state(uint32_t slot, uint64_t id);
  // Makes the group or replaces its servers; those that are there already (same address, name and
  // `backup`) keep their counts. False: the zone is full, and nothing has changed.
  bool put(const PeerGroupEntry& group);
  bool remove(const std::string& name);
  bool known(const std::string& name, PeerGroupEntry* out);

 private:
  struct Head;
  struct Group;
  struct Peer;
  struct Slot;
  Head* head() const { return reinterpret_cast<Head*>(base_); }
  Slot* slot(uint32_t n) const;
  uint32_t take_slot();
  Group* find(const std::string& name, uint32_t* at = nullptr);
  void read_group(const Group& g, PeerGroupEntry* out);
  void free_list(uint32_t first);
  void repair();
  char* base_ = nullptr;
};

}  // namespace moonphase::shm
