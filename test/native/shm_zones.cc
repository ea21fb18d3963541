// One mapping per zone and process; sharing by descriptor and by name; what a reload keeps.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "shm_test.h"

using namespace shm_test;

namespace {

constexpr int64_t kNow = 1'700'000'000'000;

// In a child that has mapped nothing yet: what `work` prints.
std::string in_child(const std::function<std::string()>& work) {
  int fds[2];
  CHECK(pipe(fds) == 0);
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    std::string s = work();
    CHECK(write(fds[1], s.data(), s.size()) == static_cast<ssize_t>(s.size()));
    _exit(0);
  }
  close(fds[1]);
  std::string out;
  char buf[256];
  for (ssize_t n; (n = read(fds[0], buf, sizeof buf)) > 0;) out.append(buf, static_cast<size_t>(n));
  close(fds[0]);
  waitpid(pid, nullptr, 0);
  return out;
}

std::string refusal(const ZoneSpec& spec) {
  std::string error;
  CHECK(zone_registry_open(spec, &error) == nullptr);
  return error;
}

bool exists(const std::string& name) {
  int fd = shm_open(Segment::shm_name(name).c_str(), O_RDONLY, 0);
  if (fd >= 0) close(fd);
  return fd >= 0;
}

}  // namespace

SHM_TEST(zones_one_mapping) {
  ZoneHandle a(64 * 1024, "a"), same(64 * 1024, "a"), larger(128 * 1024, "a"),
      other(64 * 1024, "b");
  CHECK(a.zone == same.zone && a.zone != larger.zone && a.zone != other.zone);
  a->store(kSet, "k", number(1), 0, 0, kNow);
  CHECK_EQ(get(*same, "k", kNow), "1");
  CHECK_EQ(get(*larger, "k", kNow), "nil");
}

SHM_TEST(zones_outlive_a_reload) {
  ZoneSpec spec{.name = "kept", .size = 64 * 1024};
  std::string error;
  Zone* old = zone_registry_open(spec, &error);
  old->dict.store(kSet, "k", number(7), 0, 0, kNow);
  Zone* fresh = zone_registry_open(spec, &error);
  zone_registry_release(old);
  CHECK_EQ(get(fresh->dict, "k", kNow), "7");
  zone_registry_release(fresh);
  ZoneHandle gone(spec);
  CHECK_EQ(get(*gone, "k", kNow), "nil");
}

SHM_TEST(zones_by_descriptor) {
  ZoneHandle d(64 * 1024, "mine");
  d->store(kSet, "k", string("from the parent"), 0, 0, kNow);
  int fd = d.zone->segment.fd();
  // Under another name the child's registry cannot find the mapping that it inherited.
  CHECK_EQ(in_child([&] {
             ZoneHandle c(ZoneSpec{.name = "theirs", .size = 64 * 1024, .exact = false, .fd = fd});
             CHECK(c.zone != d.zone && c.zone->segment.base() != d.zone->segment.base());
             std::string got = get(*c, "k", kNow);
             c->store(kSet, "k", string("from the child"), 0, 0, kNow);
             return got;
           }),
           "'from the parent'");
  CHECK_EQ(get(*d, "k", kNow), "'from the child'");
  CHECK_EQ(refusal({.name = "x", .size = 128 * 1024, .exact = false, .fd = fd}),
           "shared dictionary \"x\": the zone exists with a size of 65536 bytes");
  int other = memfd_create("other", MFD_CLOEXEC);
  CHECK(ftruncate(other, 8192) == 0);
  CHECK_EQ(refusal({.name = "x", .size = 64 * 1024, .exact = false, .fd = other}),
           "shared dictionary \"x\": the memory that exists is not a zone of this version");
  close(other);
  CHECK_EQ(refusal({.name = "x", .size = 64 * 1024, .exact = false, .fd = 9999}),
           "shared dictionary \"x\": its descriptor is not usable (Bad file descriptor)");
  CHECK_EQ(refusal({.name = "x", .size = uint64_t{1} << 40}),
           "shared dictionary \"x\": a size of 1099511627776 bytes is more than a zone can have");
}

SHM_TEST(zones_by_name) {
  std::string shm = "moonphase-test-" + std::to_string(getpid());
  ZoneSpec spec{.name = "n", .size = 64 * 1024, .exact = false, .fd = -1, .shm = shm};
  CHECK(!exists(shm));
  {
    ZoneHandle d(spec);
    CHECK(exists(shm));
    d->store(kSet, "k", number(1), 0, 0, kNow);
    // The registry of a forked child holds the zone already; another zone name with the same shm
    // name does not.
    ZoneSpec twin = spec;
    twin.name = "twin";
    CHECK_EQ(in_child([&] {
               ZoneHandle c(twin);
               std::string got = get(*c, "k", kNow);
               return got + " " + show(c->incr("k", 1, false, 0, 0, kNow));
             }),
             "1 0 2");
    CHECK_EQ(get(*d, "k", kNow), "2");
    CHECK(exists(shm));
  }
  CHECK(!exists(shm));
  // All users killed: the name stays, the next user starts with an empty zone and removes it.
  pid_t pid = fork();
  if (pid == 0) {
    std::string error;
    Zone* z = zone_registry_open(spec, &error);
    z->dict.store(kSet, "k", number(1), 0, 0, kNow);
    kill(getpid(), SIGKILL);
  }
  waitpid(pid, nullptr, 0);
  CHECK(exists(shm));
  {
    ZoneHandle d(spec);
    CHECK_EQ(get(*d, "k", kNow), "nil");
  }
  CHECK(!exists(shm));
}

SHM_TEST(zones_kept_by_name) {
  std::string space = "moonphase-kept-" + std::to_string(getpid()) + "-";
  ZoneSpec spec{.name = "n",
                .size = 64 * 1024,
                .exact = false,
                .fd = -1,
                .shm = zone_shm(space, "n"),
                .kept = true};
  // A user that is killed, with the lock in its hands, and one that ends: both leave it to the
  // next.
  pid_t pid = fork();
  if (pid == 0) {
    std::string error;
    Zone* z = zone_registry_open(spec, &error);
    z->dict.store(kSet, "k", number(1), 0, 0, kNow);
    z->dict.keys(
        0, kNow, [](void*, Str) { kill(getpid(), SIGKILL); }, nullptr);
  }
  waitpid(pid, nullptr, 0);
  {
    ZoneHandle d(spec);
    CHECK_EQ(show(d->incr("k", 1, false, 0, 0, kNow)), "0 2");
    CHECK(d->stats().recoveries == 1 && d->check() == nullptr);
    Segment::remove_unused(space);
    CHECK(exists(spec.shm));
  }
  {
    ZoneHandle d(spec);
    CHECK_EQ(get(*d, "k", kNow), "2");
  }
  // Another size: there is no user that could object.
  ZoneSpec larger = spec;
  larger.size = 128 * 1024;
  {
    ZoneHandle d(larger);
    CHECK_EQ(get(*d, "k", kNow), "nil");
    CHECK(refusal(spec).find("the zone exists with a size of 131072 bytes") != std::string::npos);
  }
  Segment::remove_unused(space);
  CHECK(!exists(spec.shm));
}
