#include "ngx/log_ring.h"

#include <cstring>

#include "base/log.h"

namespace moonphase::ngx {

LogRing::LogRing(size_t size)
    : filter_level(kLogDebug), data_(new char[size]), size_(size), end_(size) {}

size_t LogRing::room() const {
  if (count_ == 0) return size_;
  return tail_ > head_ ? size_ - tail_ : head_ - tail_;
}

void LogRing::forget_all() {
  head_ = tail_ = count_ = 0;
  end_ = size_;
}

void LogRing::skip_gap() {
  if (size_ - head_ < sizeof(Header) || head_ >= end_) head_ = 0;
}

void LogRing::drop_oldest() {
  if (count_ == 0) return;
  Header h;
  std::memcpy(&h, &data_[head_], sizeof h);
  head_ += sizeof h + h.size;
  if (--count_ == 0) forget_all();
  skip_gap();
}

void LogRing::write(int level, Str line, double time) {
  size_t need = sizeof(Header) + line.size();
  if (need > size_) return;
  if (room() < need) {
    if (size_ - tail_ < need) {
      while (count_ && head_ >= tail_) drop_oldest();
      end_ = tail_;
      tail_ = 0;
    }
    while (room() < need) drop_oldest();
  }
  Header h{time, static_cast<unsigned>(line.size()), level};
  std::memcpy(&data_[tail_], &h, sizeof h);
  std::memcpy(&data_[tail_ + sizeof h], line.data(), line.size());
  tail_ += need;
  ++count_;
  if (tail_ > end_) end_ = tail_;
}

bool LogRing::read(int* level, Str* line, double* time) {
  if (count_ == 0) return false;
  Header h;
  std::memcpy(&h, &data_[head_], sizeof h);
  *level = h.level;
  *time = h.time;
  *line = {&data_[head_ + sizeof h], h.size};
  head_ += sizeof h + h.size;
  if (--count_ == 0) forget_all();
  skip_gap();
  return true;
}

}  // namespace moonphase::ngx
