// Kernel launches live in support/, where every room can reach them.
#pragma once

#include "w8a8/support/launch.cuh"
