CREATE TABLE three_joins (name VARCHAR, itemName VARCHAR, price BIGINT) WITH (${sink});

INSERT INTO three_joins
SELECT P.name, A.itemName, B.price
FROM bid B JOIN auction A ON B.auction = A.id JOIN person P ON A.seller = P.id
WHERE B.price > 50000000;
