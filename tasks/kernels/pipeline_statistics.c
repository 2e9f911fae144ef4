// Compiles one compute kernel on the first physical device that the Vulkan loader finds, and prints as JSON what the driver
// tells of it (VK_KHR_pipeline_executable_properties): the subgroup's size, every statistic by the driver's own name, and the
// machine code as text.
//
//   pipeline_statistics KERNEL.spv
//
// Without a kernel it prints the driver's own words about its version. The kernel has one entry point and its buffers in set 0, as wgpu writes it.

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vulkan/vulkan.h>

enum { MAX_BINDINGS = 32, MAX_EXECUTABLES = 4 };

// What the pipeline's creation has to say of the module.
typedef struct {
  uint32_t *words;
  size_t count;
  const char *entry;
  VkDescriptorSetLayoutBinding bindings[MAX_BINDINGS];
  uint32_t binding_count;
} Kernel;

static void fail(const char *what) {
  fprintf(stderr, "%s\n", what);
  exit(1);
}

static void check(VkResult result, const char *what) {
  if (result == VK_SUCCESS) return;
  fprintf(stderr, "%s: VkResult %d\n", what, result);
  exit(1);
}
#define CHECK(call) check(call, #call)

static void read_words(const char *path, Kernel *kernel) {
  FILE *file = fopen(path, "rb");
  if (!file) fail("the kernel's file cannot be opened");
  fseek(file, 0, SEEK_END);
  kernel->count = ftell(file) / sizeof(uint32_t);
  rewind(file);
  kernel->words = malloc(kernel->count * sizeof(uint32_t));
  if (fread(kernel->words, sizeof(uint32_t), kernel->count, file) != kernel->count) fail("the kernel's file cannot be read");
  fclose(file);
}

// Finds the entry point's name and the buffers: OpEntryPoint 15, OpVariable 59, and OpDecorate 71 with Binding 33. Storage
// class 2 is a uniform buffer, 12 a storage buffer.
static void read_interface(Kernel *kernel) {
  uint32_t *words = kernel->words;
  uint32_t bound = words[3];
  uint32_t *binding_of = malloc(bound * sizeof(uint32_t));
  memset(binding_of, 0xff, bound * sizeof(uint32_t));
  for (size_t at = 5; at < kernel->count; at += words[at] >> 16) {
    uint32_t op = words[at] & 0xffff;
    if (words[at] >> 16 == 0) fail("the kernel's file is no SPIR-V");
    if (op == 15) kernel->entry = (const char *)&words[at + 3];
    if (op == 71 && words[at + 2] == 33) binding_of[words[at + 1]] = words[at + 3];
    if (op != 59 || binding_of[words[at + 2]] == UINT32_MAX) continue;
    if (kernel->binding_count == MAX_BINDINGS) fail("the kernel has more buffers than this program expects");
    kernel->bindings[kernel->binding_count++] = (VkDescriptorSetLayoutBinding){
        .binding = binding_of[words[at + 2]],
        .descriptorType = words[at + 3] == 2 ? VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
        .descriptorCount = 1,
        .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT,
    };
  }
  if (!kernel->entry) fail("the kernel has no entry point");
  free(binding_of);
}

static VkPhysicalDevice first_physical_device(void) {
  VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .apiVersion = VK_API_VERSION_1_3};
  VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO, .pApplicationInfo = &application};
  VkInstance instance;
  CHECK(vkCreateInstance(&info, NULL, &instance));
  uint32_t count = 1;
  VkPhysicalDevice physical;
  VkResult result = vkEnumeratePhysicalDevices(instance, &count, &physical);
  if (result != VK_INCOMPLETE) check(result, "vkEnumeratePhysicalDevices");
  if (count == 0) fail("the driver shows no device");
  return physical;
}

// A device with every feature that the physical one has, as wgpu's kernels want them, and the executables' properties.
static VkDevice open_device(VkPhysicalDevice physical) {
  VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR executables = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR};
  VkPhysicalDeviceVulkan13Features v13 = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES, .pNext = &executables};
  VkPhysicalDeviceVulkan12Features v12 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES, .pNext = &v13};
  VkPhysicalDeviceVulkan11Features v11 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES, .pNext = &v12};
  // wgpu asks for robust access where the driver has it, so that buffers' accesses need no checks of the kernel's own.
  VkPhysicalDeviceRobustness2FeaturesEXT robustness = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ROBUSTNESS_2_FEATURES_EXT, .pNext = &v11};
  VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &robustness};
  vkGetPhysicalDeviceFeatures2(physical, &features);
  if (!executables.pipelineExecutableInfo) fail("the driver has no VK_KHR_pipeline_executable_properties");
  const char *extensions[] = {
      VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME, VK_EXT_ROBUSTNESS_2_EXTENSION_NAME};
  float priority = 1;
  VkDeviceQueueCreateInfo queue = {
      .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, .queueCount = 1, .pQueuePriorities = &priority};
  VkDeviceCreateInfo info = {
      .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
      .pNext = &features,
      .queueCreateInfoCount = 1,
      .pQueueCreateInfos = &queue,
      .enabledExtensionCount = sizeof extensions / sizeof *extensions,
      .ppEnabledExtensionNames = extensions,
  };
  VkDevice device;
  CHECK(vkCreateDevice(physical, &info, NULL, &device));
  return device;
}

static VkPipeline compile(VkDevice device, const Kernel *kernel) {
  VkDescriptorSetLayoutCreateInfo set_info = {
      .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
      .bindingCount = kernel->binding_count,
      .pBindings = kernel->bindings,
  };
  VkDescriptorSetLayout set;
  CHECK(vkCreateDescriptorSetLayout(device, &set_info, NULL, &set));
  VkPipelineLayoutCreateInfo layout_info = {
      .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO, .setLayoutCount = 1, .pSetLayouts = &set};
  VkPipelineLayout layout;
  CHECK(vkCreatePipelineLayout(device, &layout_info, NULL, &layout));
  VkShaderModuleCreateInfo module_info = {
      .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
      .codeSize = kernel->count * sizeof(uint32_t),
      .pCode = kernel->words,
  };
  VkShaderModule module;
  CHECK(vkCreateShaderModule(device, &module_info, NULL, &module));
  VkComputePipelineCreateInfo info = {
      .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
      .flags = VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR | VK_PIPELINE_CREATE_CAPTURE_INTERNAL_REPRESENTATIONS_BIT_KHR,
      .stage =
          {
              .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
              .stage = VK_SHADER_STAGE_COMPUTE_BIT,
              .module = module,
              .pName = kernel->entry,
          },
      .layout = layout,
  };
  VkPipeline pipeline;
  CHECK(vkCreateComputePipelines(device, VK_NULL_HANDLE, 1, &info, NULL, &pipeline));
  return pipeline;
}

static void print_string(const char *text) {
  putchar('"');
  for (; *text; text++) {
    unsigned char byte = *text;
    if (byte == '"' || byte == '\\') printf("\\%c", byte);
    else if (byte < 0x20) printf("\\u%04x", byte);
    else putchar(byte);
  }
  putchar('"');
}

static void print_statistics(VkDevice device, const VkPipelineExecutableInfoKHR *executable) {
  PFN_vkGetPipelineExecutableStatisticsKHR get =
      (PFN_vkGetPipelineExecutableStatisticsKHR)vkGetDeviceProcAddr(device, "vkGetPipelineExecutableStatisticsKHR");
  uint32_t count;
  CHECK(get(device, executable, &count, NULL));
  VkPipelineExecutableStatisticKHR *all = calloc(count, sizeof *all);
  for (uint32_t i = 0; i < count; i++) all[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR;
  CHECK(get(device, executable, &count, all));
  printf("\"statistics\":{");
  for (uint32_t i = 0; i < count; i++) {
    if (i > 0) putchar(',');
    print_string(all[i].name);
    if (all[i].format == VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_FLOAT64_KHR) printf(":%.17g", all[i].value.f64);
    else if (all[i].format == VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_BOOL32_KHR) printf(":%u", all[i].value.b32);
    else printf(":%llu", (unsigned long long)all[i].value.u64);
  }
  printf("}");
  free(all);
}

// Drivers give the code in several stages of its making; the machine's is the last one that is text.
static void print_assembly(VkDevice device, const VkPipelineExecutableInfoKHR *executable) {
  PFN_vkGetPipelineExecutableInternalRepresentationsKHR get =
      (PFN_vkGetPipelineExecutableInternalRepresentationsKHR)vkGetDeviceProcAddr(
          device, "vkGetPipelineExecutableInternalRepresentationsKHR");
  uint32_t count;
  CHECK(get(device, executable, &count, NULL));
  VkPipelineExecutableInternalRepresentationKHR *all = calloc(count, sizeof *all);
  for (uint32_t i = 0; i < count; i++) all[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INTERNAL_REPRESENTATION_KHR;
  // Once for the sizes, once for the texts.
  CHECK(get(device, executable, &count, all));
  for (uint32_t i = 0; i < count; i++) all[i].pData = calloc(1, all[i].dataSize + 1);
  CHECK(get(device, executable, &count, all));
  const char *assembly = "";
  for (uint32_t i = 0; i < count; i++) {
    if (all[i].isText) assembly = all[i].pData;
  }
  printf("\"assembly\":");
  print_string(assembly);
}

// The executables of one pipeline: RADV makes one, anv one for each SIMD width that it may run at.
static void print_executables(VkDevice device, VkPipeline pipeline) {
  PFN_vkGetPipelineExecutablePropertiesKHR get =
      (PFN_vkGetPipelineExecutablePropertiesKHR)vkGetDeviceProcAddr(device, "vkGetPipelineExecutablePropertiesKHR");
  VkPipelineInfoKHR info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR, .pipeline = pipeline};
  VkPipelineExecutablePropertiesKHR properties[MAX_EXECUTABLES] = {0};
  for (int i = 0; i < MAX_EXECUTABLES; i++) properties[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_PROPERTIES_KHR;
  uint32_t count = MAX_EXECUTABLES;
  CHECK(get(device, &info, &count, properties));
  printf("[");
  for (uint32_t i = 0; i < count; i++) {
    VkPipelineExecutableInfoKHR executable = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR, .pipeline = pipeline, .executableIndex = i};
    printf("%s{\"subgroupSize\":%u,", i > 0 ? "," : "", properties[i].subgroupSize);
    print_statistics(device, &executable);
    printf(",");
    print_assembly(device, &executable);
    printf("}");
  }
  printf("]\n");
}

static void print_driver(VkPhysicalDevice physical) {
  VkPhysicalDeviceDriverProperties driver = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES};
  VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &driver};
  vkGetPhysicalDeviceProperties2(physical, &properties);
  puts(driver.driverInfo);
}

int main(int argc, char **argv) {
  if (argc > 2) fail("usage: pipeline_statistics [KERNEL.spv]");
  if (argc == 1) {
    print_driver(first_physical_device());
    return 0;
  }
  Kernel kernel = {0};
  read_words(argv[1], &kernel);
  read_interface(&kernel);
  VkDevice device = open_device(first_physical_device());
  print_executables(device, compile(device, &kernel));
  return 0;
}
