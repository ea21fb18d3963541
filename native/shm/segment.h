// Shared memory and the descriptor behind it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

namespace moonphase::shm {

class Segment {
 public:
  Segment() = default;
  Segment(Segment&& other) noexcept { *this = std::move(other); }
  Segment& operator=(Segment&& other) noexcept;
  ~Segment() { close(); }

  // Each returns false and a sentence in *error on failure. The memory is zero where nobody has
  // written.

  // Without a name: whoever is to share it gets the descriptor (it closes on exec; a child's stdio
  // table carries it).
  static bool create(const std::string& label, uint64_t size, Segment* out, std::string* error);
  // Made by another process; `fd` becomes ours.
  static bool attach(int fd, Segment* out, std::string* error);
  // By name, for processes that no descriptor can be handed to: the first creates, the others
  // attach, the last user removes the name, also when some users were killed. All of it is
  // committed at once, since /dev/shm may be small and a fault later would kill the process.
  // *fresh: nobody else uses it; the caller writes its structure before settle(), and until then
  // others wait inside open_named(). With `keep` its users leave the name to somebody who calls
  // remove_unused(), and memory that nobody uses is taken over if `keep(base, size)` says so.
  static bool open_named(const std::string& name, uint64_t size,
                         const std::function<bool(char* base, uint64_t size)>& keep, Segment* out,
                         bool* fresh, std::string* error);
  void settle();
  // The names with this beginning whose memory has no user.
  static void remove_unused(const std::string& beginning);
  // `name` as shm_open takes it.
  static std::string shm_name(const std::string& name);

  bool mapped() const { return base_ != nullptr; }
  char* base() const { return base_; }
  uint64_t size() const { return size_; }
  int fd() const { return fd_; }
  void close();

 private:
  bool map(std::string* error);
  bool renew(const std::string& path, uint64_t size, std::string* error);

  char* base_ = nullptr;
  uint64_t size_ = 0;
  int fd_ = -1;
  std::string name_;
};

}  // namespace moonphase::shm
