"""Jets: four-vectors and calorimeter variables of jets, compressed by autoencoders and learned densities."""
