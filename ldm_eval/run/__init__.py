"""From a configuration to results.json: plan, generate, embed, score, measure."""
