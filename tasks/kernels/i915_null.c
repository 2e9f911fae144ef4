// An Intel GPU that is not there. Preloaded below Mesa's Vulkan driver anv, it shows one PCI device and answers what the driver
// asks of the kernel's i915 module, so far that kernels can be compiled. Nothing can be run: buffers are plain memory, and
// what is submitted is taken and forgotten.
//
// The device is a Tiger Lake (Xe-LP, GT2): one slice of 6 dual subslices, each of 16 EUs.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <libdrm/i915_drm.h>
#include <xf86drm.h>

enum {
  VENDOR = 0x8086,
  DEVICE = 0x9a49,
  SLICES = 1,
  SUBSLICES = 6,
  EUS = 16,
  MAX_FILES = 1024,
  DRM_MAJOR = 226,
  RENDER_MINOR = 128,
};

static const uint64_t memory_bytes = 8ull << 30;
static const uint64_t address_space_bytes = 1ull << 48;

// The real function below one of ours.
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

// Files of the device: memory files, so that their numbers are the process's own.

static bool is_device[MAX_FILES];

static bool is_device_path(const char *path) { return strncmp(path, "/dev/dri/", 9) == 0; }

static bool is_device_file(int file) { return file >= 0 && file < MAX_FILES && is_device[file]; }

static int open_device(void) {
  int file = memfd_create("i915", MFD_CLOEXEC);
  if (file >= MAX_FILES) abort();
  if (file >= 0) is_device[file] = true;
  return file;
}

int open(const char *path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  mode_t mode = va_arg(rest, mode_t);
  va_end(rest);
  return is_device_path(path) ? open_device() : REAL(open)(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  mode_t mode = va_arg(rest, mode_t);
  va_end(rest);
  return is_device_path(path) ? open_device() : REAL(open64)(path, flags, mode);
}

int close(int file) {
  if (is_device_file(file)) is_device[file] = false;
  return REAL(close)(file);
}

int stat(const char *path, struct stat *out) {
  if (!is_device_path(path)) return REAL(stat)(path, out);
  memset(out, 0, sizeof *out);
  out->st_mode = S_IFCHR | 0666;
  out->st_rdev = makedev(DRM_MAJOR, strstr(path, "render") ? RENDER_MINOR : 0);
  return 0;
}

// The two structures are the same where files' offsets have 64 bits.
int stat64(const char *path, struct stat64 *out) {
  return is_device_path(path) ? stat(path, (struct stat *)out) : REAL(stat64)(path, out);
}

void *mmap64(void *address, size_t length, int protection, int flags, int file, off64_t offset) {
  if (!is_device_file(file)) return REAL(mmap64)(address, length, protection, flags, file, offset);
  return REAL(mmap64)(address, length, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

void *mmap(void *address, size_t length, int protection, int flags, int file, off_t offset) {
  return mmap64(address, length, protection, flags, file, offset);
}

// libdrm's list of devices.

static drmPciBusInfo bus = {.dev = 2};
static drmPciDeviceInfo device_info = {.vendor_id = VENDOR, .device_id = DEVICE};
static char primary_node[] = "/dev/dri/card0", render_node[] = "/dev/dri/renderD128";
static char *nodes[DRM_NODE_MAX] = {[DRM_NODE_PRIMARY] = primary_node, [DRM_NODE_RENDER] = render_node};
static drmDevice device = {
    .nodes = nodes,
    .available_nodes = 1 << DRM_NODE_PRIMARY | 1 << DRM_NODE_RENDER,
    .bustype = DRM_BUS_PCI,
    .businfo.pci = &bus,
    .deviceinfo.pci = &device_info,
};

int drmGetDevices2(uint32_t flags, drmDevicePtr devices[], int most) {
  if (devices && most > 0) devices[0] = &device;
  return 1;
}

int drmGetDevice2(int file, uint32_t flags, drmDevicePtr *found) {
  *found = &device;
  return 0;
}

void drmFreeDevice(drmDevicePtr *freed) {}

void drmFreeDevices(drmDevicePtr devices[], int count) {}

// What i915 answers.

static uint32_t new_handle(void) {
  static uint32_t last;
  return ++last;
}

static int parameter(const drm_i915_getparam_t *asked) {
  switch (asked->param) {
    case I915_PARAM_CHIPSET_ID: return DEVICE;
    case I915_PARAM_CS_TIMESTAMP_FREQUENCY: return 19200000;
    case I915_PARAM_HAS_ALIASING_PPGTT: return 3;  // Full, with 48 bits.
    case I915_PARAM_MMAP_VERSION: return 1;
    case I915_PARAM_MMAP_GTT_VERSION: return 4;  // With DRM_IOCTL_I915_GEM_MMAP_OFFSET.
    case I915_PARAM_SUBSLICE_TOTAL: return SLICES * SUBSLICES;
    case I915_PARAM_EU_TOTAL: return SLICES * SUBSLICES * EUS;
    case I915_PARAM_CMD_PARSER_VERSION: return 10;
    case I915_PARAM_PERF_REVISION: return 3;
    default: return 1;  // Has it.
  }
}

// Every slice, subslice and EU is there.
static void write_topology(struct drm_i915_query_topology_info *info) {
  enum { EU_STRIDE = (EUS + 7) / 8, EU_OFFSET = 1 + SLICES };
  info->max_slices = SLICES;
  info->max_subslices = SUBSLICES;
  info->max_eus_per_subslice = EUS;
  info->subslice_offset = 1;
  info->subslice_stride = 1;
  info->eu_offset = EU_OFFSET;
  info->eu_stride = EU_STRIDE;
  info->data[0] = (1 << SLICES) - 1;
  memset(info->data + 1, (1 << SUBSLICES) - 1, SLICES);
  memset(info->data + EU_OFFSET, 0xff, SLICES * SUBSLICES * EU_STRIDE);
}

static const size_t topology_bytes =
    sizeof(struct drm_i915_query_topology_info) + 1 + SLICES + SLICES * SUBSLICES * ((EUS + 7) / 8);

// One engine, of class 0: render. Its numbers are all 0.
static void write_engines(struct drm_i915_query_engine_info *info) { info->num_engines = 1; }

static void write_memory(struct drm_i915_query_memory_regions *info) {
  info->num_regions = 1;
  info->regions[0].probed_size = memory_bytes;
  info->regions[0].unallocated_size = memory_bytes;
}

// The driver asks twice: first for the length, then for the data.
static void answer(struct drm_i915_query_item *item) {
  size_t bytes = 0;
  if (item->query_id == DRM_I915_QUERY_TOPOLOGY_INFO) bytes = topology_bytes;
  if (item->query_id == DRM_I915_QUERY_ENGINE_INFO) {
    bytes = sizeof(struct drm_i915_query_engine_info) + sizeof(struct drm_i915_engine_info);
  }
  if (item->query_id == DRM_I915_QUERY_MEMORY_REGIONS) {
    bytes = sizeof(struct drm_i915_query_memory_regions) + sizeof(struct drm_i915_memory_region_info);
  }
  bool wants_data = item->length > 0;
  item->length = bytes > 0 ? (int)bytes : -EINVAL;
  if (bytes == 0 || !wants_data) return;
  void *data = (void *)(uintptr_t)item->data_ptr;
  memset(data, 0, bytes);
  if (item->query_id == DRM_I915_QUERY_TOPOLOGY_INFO) write_topology(data);
  if (item->query_id == DRM_I915_QUERY_ENGINE_INFO) write_engines(data);
  if (item->query_id == DRM_I915_QUERY_MEMORY_REGIONS) write_memory(data);
}

static void query(const struct drm_i915_query *asked) {
  struct drm_i915_query_item *items = (void *)(uintptr_t)asked->items_ptr;
  for (uint32_t i = 0; i < asked->num_items; i++) answer(&items[i]);
}

static void get_version(struct drm_version *version) {
  if (version->name && version->name_len >= 4) memcpy(version->name, "i915", 4);
  version->name_len = 4;
  version->date_len = version->desc_len = 0;
  version->version_major = 1;
  version->version_minor = 6;
}

// DRM's own requests, of which the driver needs few.
static void core_ioctl(unsigned request, void *data) {
  if (request == _IOC_NR(DRM_IOCTL_VERSION)) get_version(data);
  if (request == _IOC_NR(DRM_IOCTL_GET_CAP)) ((struct drm_get_cap *)data)->value = 1;
  if (request == _IOC_NR(DRM_IOCTL_SYNCOBJ_CREATE)) ((struct drm_syncobj_create *)data)->handle = new_handle();
}

static void i915_ioctl(unsigned request, void *data) {
  switch (request) {
    case DRM_I915_GETPARAM: {
      drm_i915_getparam_t *asked = data;
      *asked->value = parameter(asked);
      return;
    }
    case DRM_I915_QUERY: query(data); return;
    case DRM_I915_GEM_CREATE: ((struct drm_i915_gem_create *)data)->handle = new_handle(); return;
    case DRM_I915_GEM_USERPTR: ((struct drm_i915_gem_userptr *)data)->handle = new_handle(); return;
    case DRM_I915_GEM_CONTEXT_CREATE: ((struct drm_i915_gem_context_create *)data)->ctx_id = 1; return;
    case DRM_I915_GEM_CONTEXT_GETPARAM: {
      struct drm_i915_gem_context_param *asked = data;
      asked->value = asked->param == I915_CONTEXT_PARAM_GTT_SIZE ? address_space_bytes : 0;
      return;
    }
    case DRM_I915_GEM_GET_APERTURE: {
      struct drm_i915_gem_get_aperture *aperture = data;
      aperture->aper_size = aperture->aper_available_size = address_space_bytes;
      return;
    }
    // An offset names a buffer for mmap, which gives plain memory for any.
    case DRM_I915_GEM_MMAP_GTT: {
      struct drm_i915_gem_mmap_offset *mapping = data;
      mapping->offset = (uint64_t)mapping->handle << 32;
      return;
    }
    default: return;  // Done.
  }
}

int ioctl(int file, unsigned long request, ...) {
  va_list rest;
  va_start(rest, request);
  void *data = va_arg(rest, void *);
  va_end(rest);
  if (!is_device_file(file)) return REAL(ioctl)(file, request, data);
  unsigned number = _IOC_NR(request);
  if (number >= DRM_COMMAND_BASE && number < DRM_COMMAND_END) i915_ioctl(number - DRM_COMMAND_BASE, data);
  else core_ioctl(number, data);
  return 0;
}
