#include "wick/name_scope.h"

#include <gtest/gtest.h>

#include <thread>

#include "graph/node.h"
#include "graph/scope_names.h"
#include "optimize/graph.h"
#include "wick/grad.h"
#include "wick/ops.h"

namespace wick {
namespace {

std::string scope_of(const Tensor& t) { return scope_path(t.node()->where().scope); }

TEST(NameScope, NamesWhatIsRecordedWhileItLives) {
  const Tensor x = ones({2});
  EXPECT_EQ(scope_of(x), "");
  {
    const NameScope layer("layer.0");
    EXPECT_EQ(scope_of(x + 1.0), "layer.0");
    {
      const NameScope block("mlp");
      EXPECT_EQ(scope_of(x + 1.0), "layer.0/mlp");
    }
    EXPECT_EQ(scope_of(x * 2.0), "layer.0");
  }
  EXPECT_EQ(scope_of(x + 1.0), "");
}

TEST(NameScope, BelongsToItsThread) {
  const NameScope layer("layer.1");
  std::string other = "unset";
  std::thread([&] { other = scope_of(ones({1})); }).join();
  EXPECT_EQ(other, "");
  EXPECT_EQ(scope_of(ones({1})), "layer.1");
}

TEST(NameScope, GradientOpsBelongToThePartWhoseGradientTheyAre) {
  const Tensor x = ones({2, 2}).eval();
  Tensor y;
  {
    const NameScope layer("layer.2");
    y = exp(x);
  }
  const Tensor gradient = grad(sum(y), {x})[0];
  const SourceLocation where = gradient.node()->where();
  EXPECT_EQ(scope_path(where.scope), "layer.2");
  EXPECT_TRUE(is_gradient(where));
  EXPECT_FALSE(is_gradient(y.node()->where()));
}

TEST(NameScope, TheSnapshotOfAGraphCarriesIt) {
  Tensor y;
  {
    const NameScope layer("layer.3");
    y = exp(ones({2}));
  }
  const Walk walked = walk(std::span(&y, 1), WalkThrough::unevaluated);
  const Graph graph = snapshot(walked, std::vector<char>(walked.order.size(), 0));
  EXPECT_EQ(scope_path(graph.nodes.back().where.scope), "layer.3");
}

TEST(NameScope, AreAsManyAsThereAreNames) {
  const Tensor a = [] {
    const NameScope scope("again");
    return ones({1});
  }();
  const NameScope scope("again");
  EXPECT_EQ(ones({1}).node()->where().scope, a.node()->where().scope);
}

}  // namespace
}  // namespace wick
