#pragma once

#include "wick/ops/elementwise.h"
#include "wick/ops/indexing.h"
#include "wick/ops/linalg.h"
#include "wick/ops/movement.h"
#include "wick/ops/nn.h"
#include "wick/ops/random.h"
#include "wick/ops/reduce.h"
