/* librestychash.so, the C part of lua-resty-balancer, which looks for a file of this name along
   package.cpath: the points of a consistent hash, as nginx's `hash … consistent` computes them. Not
   part of the addon. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef struct {
  uint32_t hash;
  uint32_t id;
} Point;

static uint32_t crc_byte(uint32_t crc, unsigned byte) {
  static const uint32_t kNibbles[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
                                        0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
                                        0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                        0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
  crc = (crc >> 4) ^ kNibbles[(crc ^ byte) & 15];
  return (crc >> 4) ^ kNibbles[(crc ^ (byte >> 4)) & 15];
}

/* Each point is the hash of the server, whose CRC `base` has begun, and of the point before. */
static void make_points(Point* to, uint32_t base, uint32_t from, uint32_t count, uint32_t id) {
  uint32_t before = 0;
  for (uint32_t i = 0; i < from + count; ++i) {
    uint32_t crc = base;
    for (int shift = 0; shift < 32; shift += 8) crc = crc_byte(crc, before >> shift & 255);
    before = ~crc;
    if (i < from) continue;
    to->hash = before;
    to->id = id;
    ++to;
  }
}

/* By hash, without memory of its own: four passes of eight bits through `spare`. */
static void sort_points(Point* points, Point* spare, uint32_t count) {
  for (int shift = 0; shift < 32; shift += 8) {
    uint32_t at[257] = {0};
    for (uint32_t i = 0; i < count; ++i) ++at[(points[i].hash >> shift & 255) + 1];
    for (int i = 0; i < 256; ++i) at[i + 1] += at[i];
    for (uint32_t i = 0; i < count; ++i) spare[at[points[i].hash >> shift & 255]++] = points[i];
    Point* other = points;
    points = spare;
    spare = other;
  }
}

/* `arr` from `start` on. */
EXPORT void chash_point_init(Point* arr, uint32_t base, uint32_t start, uint32_t count,
                             uint32_t id) {
  make_points(arr + start, base, 0, count, id);
}

/* 0: done; -1: no memory. */
EXPORT int chash_point_sort(Point* arr, uint32_t count) {
  Point* spare = malloc((size_t)count * sizeof *spare + 1);
  if (!spare) return -1;
  sort_points(arr, spare, count);
  free(spare);
  return 0;
}

/* The points of one server, sorted. NULL: no memory. */
static Point* sorted_points(uint32_t base, uint32_t from, uint32_t count, uint32_t id) {
  Point* points = malloc((size_t)count * sizeof *points + 1);
  if (!points) return NULL;
  make_points(points, base, from, count, id);
  if (chash_point_sort(points, count) != 0) {
    free(points);
    return NULL;
  }
  return points;
}

/* Merges `count` more points of a server into a copy: `fresh` has room for both. */
EXPORT int chash_point_add(const Point* old, uint32_t length, uint32_t base, uint32_t from,
                           uint32_t count, uint32_t id, Point* fresh) {
  Point* more = sorted_points(base, from, count, id);
  if (!more) return -1;
  uint32_t i = 0, j = 0;
  for (uint32_t k = 0; k < length + count; ++k)
    fresh[k] = j == count || (i < length && old[i].hash < more[j].hash) ? old[i++] : more[j++];
  free(more);
  return 0;
}

/* Takes `count` points of a server out. */
EXPORT int chash_point_reduce(Point* points, uint32_t length, uint32_t base, uint32_t from,
                              uint32_t count, uint32_t id) {
  Point* less = sorted_points(base, from, count, id);
  if (!less) return -1;
  uint32_t j = 0, kept = 0;
  for (uint32_t i = 0; i < length; ++i) {
    if (j < count && points[i].id == id && points[i].hash == less[j].hash)
      ++j;
    else
      points[kept++] = points[i];
  }
  free(less);
  return 0;
}

EXPORT void chash_point_delete(Point* points, uint32_t length, uint32_t id) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < length; ++i)
    if (points[i].id != id) points[kept++] = points[i];
}
