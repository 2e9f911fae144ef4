// A Vulkan layer that keeps what wgpu's compiler makes of a kernel. While the environment variable BORA_SPIRV_FILE is set,
// vkCreateShaderModule also writes the module's SPIR-V to the file of that name, which must not exist: one kernel, one module.
// Compute pipelines are not compiled: nothing is run here, and the driver below, llvmpipe, takes seconds for a large kernel.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vulkan/vulkan.h>
#include <vulkan/vk_layer.h>

// There is one instance and one device: this layer is made for a process that opens one.
static VkInstance instance;
static PFN_vkGetInstanceProcAddr next_instance_proc;
static PFN_vkGetDeviceProcAddr next_device_proc;
static PFN_vkCreateShaderModule next_create_shader_module;

static VKAPI_ATTR VkResult VKAPI_CALL create_shader_module(
    VkDevice device, const VkShaderModuleCreateInfo *info, const VkAllocationCallbacks *allocator, VkShaderModule *module) {
  const char *path = getenv("BORA_SPIRV_FILE");
  if (path) {
    FILE *file = fopen(path, "wbx");
    if (!file) {
      perror(path);
      return VK_ERROR_INITIALIZATION_FAILED;
    }
    size_t written = fwrite(info->pCode, 1, info->codeSize, file);
    if (fclose(file) != 0 || written != info->codeSize) {
      perror(path);
      return VK_ERROR_INITIALIZATION_FAILED;
    }
  }
  return next_create_shader_module(device, info, allocator, module);
}

// Handles that nothing below ever sees: counted, so that no two are the same.
static VKAPI_ATTR VkResult VKAPI_CALL create_compute_pipelines(
    VkDevice device, VkPipelineCache cache, uint32_t count, const VkComputePipelineCreateInfo *infos,
    const VkAllocationCallbacks *allocator, VkPipeline *pipelines) {
  static uintptr_t last;
  for (uint32_t i = 0; i < count; i++) pipelines[i] = (VkPipeline)++last;
  return VK_SUCCESS;
}

static VKAPI_ATTR void VKAPI_CALL destroy_pipeline(
    VkDevice device, VkPipeline pipeline, const VkAllocationCallbacks *allocator) {}

// The loader's link to the next layer, which it puts into the chain of a creation's structure.
static void *link_of(const void *info, VkStructureType type, int function) {
  const VkBaseInStructure *at = info;
  for (at = at->pNext; at; at = at->pNext) {
    // Instance's and device's links begin alike: type, next, function.
    if (at->sType == type && (int)((const VkLayerInstanceCreateInfo *)at)->function == function) return (void *)at;
  }
  return NULL;
}

static VKAPI_ATTR VkResult VKAPI_CALL create_instance(
    const VkInstanceCreateInfo *info, const VkAllocationCallbacks *allocator, VkInstance *created) {
  VkLayerInstanceCreateInfo *link = link_of(info, VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO, VK_LAYER_LINK_INFO);
  if (!link) return VK_ERROR_INITIALIZATION_FAILED;
  next_instance_proc = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
  link->u.pLayerInfo = link->u.pLayerInfo->pNext;
  PFN_vkCreateInstance next = (PFN_vkCreateInstance)next_instance_proc(NULL, "vkCreateInstance");
  VkResult result = next(info, allocator, created);
  if (result == VK_SUCCESS) instance = *created;
  return result;
}

static VKAPI_ATTR VkResult VKAPI_CALL create_device(
    VkPhysicalDevice physical, const VkDeviceCreateInfo *info, const VkAllocationCallbacks *allocator, VkDevice *created) {
  VkLayerDeviceCreateInfo *link = link_of(info, VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO, VK_LAYER_LINK_INFO);
  if (!link) return VK_ERROR_INITIALIZATION_FAILED;
  PFN_vkGetInstanceProcAddr instance_proc = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
  next_device_proc = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
  link->u.pLayerInfo = link->u.pLayerInfo->pNext;
  PFN_vkCreateDevice next = (PFN_vkCreateDevice)instance_proc(instance, "vkCreateDevice");
  VkResult result = next(physical, info, allocator, created);
  if (result == VK_SUCCESS) {
    next_create_shader_module = (PFN_vkCreateShaderModule)next_device_proc(*created, "vkCreateShaderModule");
  }
  return result;
}

VK_LAYER_EXPORT VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL spirv_device_proc(VkDevice device, const char *name);
VK_LAYER_EXPORT VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL spirv_instance_proc(VkInstance of, const char *name);

static const struct {
  const char *name;
  PFN_vkVoidFunction function;
} own[] = {
    {"vkGetInstanceProcAddr", (PFN_vkVoidFunction)spirv_instance_proc},
    {"vkGetDeviceProcAddr", (PFN_vkVoidFunction)spirv_device_proc},
    {"vkCreateInstance", (PFN_vkVoidFunction)create_instance},
    {"vkCreateDevice", (PFN_vkVoidFunction)create_device},
    {"vkCreateShaderModule", (PFN_vkVoidFunction)create_shader_module},
    {"vkCreateComputePipelines", (PFN_vkVoidFunction)create_compute_pipelines},
    {"vkDestroyPipeline", (PFN_vkVoidFunction)destroy_pipeline},
};

static PFN_vkVoidFunction own_function(const char *name) {
  for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
    if (strcmp(own[i].name, name) == 0) return own[i].function;
  }
  return NULL;
}

VK_LAYER_EXPORT VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL spirv_device_proc(VkDevice device, const char *name) {
  PFN_vkVoidFunction found = own_function(name);
  return found ? found : next_device_proc(device, name);
}

VK_LAYER_EXPORT VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL spirv_instance_proc(VkInstance of, const char *name) {
  PFN_vkVoidFunction found = own_function(name);
  return found ? found : next_instance_proc ? next_instance_proc(of, name) : NULL;
}
